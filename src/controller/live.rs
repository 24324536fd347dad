//! One reconciliation of a resource that is to be there: observe, validate, plan, apply, status.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    conditions::Findings,
    context::{Context, Fault, Held},
    credentials::Wanted,
    events::Kind,
    observe::observe,
    requests,
    serve::{noted, plan, serve},
    stale,
    status::Draft,
    store::{self, Path},
    validate::validate,
    write::{self, finalizer},
};
use crate::{
    crd::{
        Endpoints, Settings, TofuStateBackend,
        conditions::{CREDENTIALS_READY, PATH_CLAIMED, reason},
    },
    store::owners,
};

/// How long until what only a person or another resource can change is looked at again.
pub(super) const LATER: Duration = Duration::from_secs(30);

/// Reconciles a resource, and answers when it is to be looked at again without anything having changed.
pub(super) async fn run(context: &Context, held: &mut Held, object: &Arc<TofuStateBackend>) -> Result<Duration, Fault> {
    if !std::mem::replace(&mut held.led, true) {
        // What it found as one of the others.
        held.record = None;
    }
    let mut draft = Draft { last_handled: held.handled(object), ..Draft::default() };
    let suspended = object.spec.suspend;
    let known = held.open.is_some() || object.status.as_ref().is_some_and(|status| status.head_epoch.is_some());
    if suspended && !known {
        draft.findings.waits(
            PATH_CLAIMED,
            reason::SUSPENDED,
            "spec.suspend is true: it is not set up before that ends",
        );
        write::status(context, held, object, &draft).await?;
        return Ok(context.options.resync);
    }
    let resource = context.active(object);

    let namespace = resource.metadata.namespace.clone().unwrap_or_default();
    let mut written = None;
    let settings = match validate(&resource, context.namespace(&namespace).as_ref(), context.options.tenancy) {
        Ok(settings) => settings,
        Err(not) => {
            draft.findings.stalls(PATH_CLAIMED, not.reason, not.message.clone());
            shut_own(context, held, &resource, &not.message).await?;
            write::status(context, held, object, &draft).await?;
            return Ok(LATER);
        }
    };
    if !suspended {
        written = finalizer(context, object, true).await?;
    }
    let looked = held.checked.as_ref().map(|checked| checked.until);
    let asked = requests::asked_to_look(object) || requests::accepts(object);
    let path = match store::look(context, held, &resource, &settings, asked && !suspended, &mut written).await {
        Err(Fault::Away(message)) if held.backend.is_none() => {
            // Its clients have to be told 503 and not 403.
            let observed = observe(context, &resource, &settings).await?;
            let wanted = plan(held, &resource, &observed);
            let wish = store::wish(context, held, &resource, &settings.path, (&settings).into());
            serve(context, held, &resource, context.paths.shut(&wish, &message), &wanted, false);
            return Err(Fault::Away(message));
        }
        other => other?,
    };
    if let Some(checked) = &held.checked {
        draft.findings = checked.findings.clone();
        draft.openbao.clone_from(&checked.openbao);
    }
    let mut next = match &held.checked {
        Some(checked) if checked.good => context.options.resync.min(checked.left()),
        _ => context.options.resync.min(LATER),
    };
    let open = matches!(path, Path::Open(_));
    let state = match path {
        Path::Refused => {
            context.unpublish(held);
            if suspended {
                draft.findings.suspended();
            }
            write::status(context, held, object, &draft).await?;
            return Ok(next);
        }
        Path::Open(state) => {
            let now = held.checked.as_ref().map(|checked| checked.until);
            let on_record = now == held.record;
            context.follow(held, written.as_ref().unwrap_or(object), &state, now != looked && !on_record);
            state
        }
        Path::Shut(why) => {
            let wish = store::wish(context, held, &resource, &settings.path, (&settings).into());
            context.paths.shut(&wish, &why)
        }
    };
    let wanted_settings = crate::store::Settings::from(&settings);
    if held.settings.as_ref() != Some(&wanted_settings) {
        state.set_settings(wanted_settings.clone());
        held.settings = Some(wanted_settings);
    }

    let observed = observe(context, &resource, &settings).await?;
    let wanted = plan(held, &resource, &observed);
    if suspended {
        serve(context, held, &resource, state.clone(), &wanted, false);
        draft.findings.suspended();
        let gone = wanted.new.then(|| {
            let message = format!(
                "the connection Secret {} is gone, and none is written while spec.suspend is true: end that, or restore it",
                settings.connection_secret
            );
            (reason::NOT_WRITTEN, message)
        });
        tell(&mut draft.findings, &wanted, gone);
    } else {
        // Who is refused from now on is at once; a new token is taken when it can be read.
        let ledger = if wanted.new {
            noted(context, &held.ledger, &resource, &wanted, true)
        } else {
            serve(context, held, &resource, state.clone(), &wanted, true);
            held.ledger.clone()
        };
        let written = write::outputs(context, &resource, &settings, &wanted, &ledger, &observed).await?;
        if wanted.new {
            if written.is_none() {
                held.ledger = ledger;
            }
            serve(context, held, &resource, state.clone(), &wanted, written.is_none());
        }
        if written.is_some() {
            next = next.min(LATER);
        }
        if wanted.altered && written.is_none() {
            let note = format!(
                "TF_HTTP_PASSWORD in the Secret {} was not the token that was generated: a new one was generated; to choose the token, name a Secret in spec.accessTokenSecretRef",
                settings.connection_secret
            );
            context.events.of(&resource, Kind::Warning, "TokenReplaced", &note).await;
        }
        tell(&mut draft.findings, &wanted, written);
        requests::run(context, &resource, &state, &mut draft.last_handled).await?;
    }
    draft.endpoints = Some(endpoints(context, &settings));
    if open && let Some(again) = stale::look(&state, settings.lock.stale_after, &mut draft.findings).await? {
        next = next.min(again);
    }
    write::status(context, held, object, &draft).await?;
    Ok(next)
}

/// A path that is the resource's own and may not be served is answered with 503, not 403.
pub(super) async fn shut_own(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    why: &str,
) -> Result<(), Fault> {
    (held.checked, held.record) = (None, Some(Instant::now()));
    let Ok(settings) = resource.settings() else { return Ok(()) };
    let standing = context.standing(resource, &settings.path).await;
    if !is_own(standing.as_ref().ok(), had(held, resource)) {
        context.unpublish(held);
        return Ok(());
    }
    let observed = observe(context, resource, &settings).await?;
    let wanted = plan(held, resource, &observed);
    let wish = store::wish(context, held, resource, &settings.path, (&settings).into());
    serve(context, held, resource, context.paths.shut(&wish, why), &wanted, false);
    Ok(())
}

/// Whether the path is the resource's own. Where the store does not say, it is the one that had it.
fn is_own(standing: Option<&owners::Standing>, had: bool) -> bool {
    match standing {
        Some(owners::Standing::Own(_)) => true,
        Some(owners::Standing::Free | owners::Standing::Released | owners::Standing::Anothers) => false,
        None => had,
    }
}

/// Whether the resource had its path, as far as this process or the status knows.
pub(super) fn had(held: &Held, resource: &TofuStateBackend) -> bool {
    held.backend.is_some() || resource.status.as_ref().is_some_and(|status| status.head_epoch.is_some())
}

/// What is told of the credentials.
fn tell(findings: &mut Findings, wanted: &Wanted, written: Option<(&'static str, String)>) {
    let said = |refused: bool| {
        let of = wanted.wrong.iter().filter(|wrong| wrong.refused == refused);
        let messages: Vec<&str> = of.clone().map(|wrong| wrong.message.as_str()).collect();
        of.clone().next().map(|first| (first.reason, messages.join("; ")))
    };
    if let Some((reason, message)) = written {
        findings.stalls(CREDENTIALS_READY, reason, message);
    } else if let Some((reason, message)) = said(true) {
        let message = format!("{message}; until then that credential is refused");
        findings.waits(CREDENTIALS_READY, reason, message);
    } else if let Some((reason, message)) = said(false) {
        findings.good(CREDENTIALS_READY, reason, message);
    } else {
        findings.good(CREDENTIALS_READY, "Written", "the credentials are there and the connection Secret is written");
    }
}

pub(super) fn endpoints(context: &Context, settings: &Settings) -> Endpoints {
    let of = |url: &String| format!("{}/{}", url.trim_end_matches('/'), settings.path);
    Endpoints {
        internal: Some(of(&context.options.internal_url)),
        external: context.options.external_url.as_ref().map(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_from_its_owner_on_the_stores_word_only() {
        use owners::Standing::{Anothers, Free, Own, Released};
        for (standing, had, own) in [
            (Some(Own(1)), false, true),
            (Some(Anothers), true, false),
            (Some(Free), true, false),
            (Some(Released), true, false),
            (None, true, true),
            (None, false, false),
        ] {
            assert_eq!(is_own(standing.as_ref(), had), own, "{standing:?} {had}");
        }
    }
}
