//! One trace a run: LOCK begins it, the lock carries it, and what its holder does next joins it, on any replica.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The W3C `traceparent` of a span that is exported, for the lock to carry.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let found = context.span().span_context().clone();
    found.is_valid().then(|| {
        let flags = found.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", found.trace_id(), found.span_id())
    })
}

/// Makes a span part of the trace that a lock carries. Text that is no `traceparent` changes nothing.
pub fn join(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        let context = opentelemetry::Context::new().with_remote_span_context(parent);
        // Without an exporter there is nothing to join.
        let _ = span.set_parent(context);
    }
}

fn parse(text: &str) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if version != "00" || fields.next().is_some() || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let parent = SpanContext::new(trace, span, flags, true, TraceState::default());
    parent.is_valid().then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_traceparent_and_nothing_else() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = parse(good).unwrap();
        assert!(parent.is_sampled() && parent.is_remote());
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &good[..54],
            &format!("{good}-x"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
