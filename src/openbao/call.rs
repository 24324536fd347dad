//! One call on the active node: connection, token, what the answer means, and whether the node that gave it was the active
//! one. Waiting between attempts is not done here but by who asked.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::Method;
use tracing::{Instrument as _, Span, debug, field::Empty, info_span};

use super::{
    Bao, Fault, Tenure, Token, TokenSource,
    active::Leader,
    token::without_another,
    wire::{Answer, Ask, Connection, since},
};
use crate::store::{BootClock, Clock as _, machine_time};

/// What is asked of OpenBao with a state's token.
pub(super) struct Call {
    /// As metrics and traces have it.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// After `/v1/`, with its query.
    pub(super) path: String,
    pub(super) body: Bytes,
    /// How large the answer may be.
    pub(super) room: usize,
    /// What is read never changes, and whoever reads it knows its sum: who gave it does not matter.
    pub(super) proves_itself: bool,
}

impl Call {
    pub(super) fn new(operation: &'static str, method: Method, path: String) -> Self {
        Self { operation, method, path, body: Bytes::new(), room: 0, proves_itself: false }
    }

    /// Whether this writes an entry.
    fn writes(&self) -> bool {
        self.method == Method::POST
    }
}

/// How long a node's word that it is the active one is enough for a write. To restore a snapshot takes OpenBao five seconds
/// at least, in which it answers nobody: so nothing that was read before is written upon after it.
const WORD: Duration = Duration::from_secs(2);

/// Doubts that a node is the active one when a call on it is given up half-way: it may be frozen.
struct GivenUp<'a> {
    bao: &'a Bao,
    tenure: &'a Tenure,
    answered: bool,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.bao.doubt(self.tenure);
        }
    }
}

impl Bao {
    /// Calls the active node. A write is sent once: where it was not done for want of the active node, whoever asked has to
    /// look again at what it builds on. Anything else is tried on the node that is active by now, once. A token that was
    /// refused is replaced by another, once.
    pub(super) async fn call(&self, call: &Call, tokens: &dyn TokenSource) -> Result<Answer, Fault> {
        let span =
            info_span!("openbao", operation = call.operation, status = Empty, outcome = Empty, otel.kind = "client");
        let began = Instant::now();
        let answer = self.attempts(call, tokens).instrument(span.clone()).await;
        let outcome = answer.as_ref().map_or_else(Fault::kind, |_| "ok");
        span.record("outcome", outcome);
        self.metrics().call(call.operation, outcome, began.elapsed());
        answer
    }

    async fn attempts(&self, call: &Call, tokens: &dyn TokenSource) -> Result<Answer, Fault> {
        let (mut node_tried, mut token_tried) = (call.writes(), false);
        loop {
            // Without a turn, as below: whoever gets a token waits for other calls.
            let token = tokens.obtain().await?;
            let turn = self.wire().turn().await;
            let tenure = self.active().await?;
            let mut given_up = GivenUp { bao: self, tenure: &tenure, answered: false };
            let done = self.call_node(&tenure, call, &token).await;
            given_up.answered = true;
            drop(turn);
            let Err(fault) = done else { return done };
            debug!(operation = call.operation, node = %tenure.address, %fault, "OpenBao did not do it");
            self.note(&tenure, &fault);
            let again = if matches!(fault, Fault::Denied(_) | Fault::InvalidToken) {
                if std::mem::replace(&mut token_tried, true) || !tokens.refused(&token).await {
                    return Err(without_another(tokens, fault).await);
                }
                true
            } else {
                let elsewhere = fault.asks_for_another_node() && !fault.ambiguous();
                elsewhere && !std::mem::replace(&mut node_tried, true)
            };
            if !again {
                return Err(fault);
            }
        }
    }

    async fn call_node(&self, tenure: &Arc<Tenure>, call: &Call, token: &Token) -> Result<Answer, Fault> {
        let (mut connection, answer) = loop {
            let mut connection = self.wire().connection(&tenure.address).await?;
            match self.ask(tenure, &mut connection, call, token).await {
                // It had been closed while nobody used it.
                Err(Fault::Unreachable(_)) if connection.used => {}
                answer => break (connection, answer?),
            }
        };
        let done = match answer.status {
            200..=299 => Ok(answer),
            status => Err(Fault::of(&tenure.address.to_string(), status, answer.retry_after, &answer.body)),
        };
        // A standby answers from its own view, which is behind: reads, refusals, mismatches, also the deletion of what it
        // has not. Only of an entry that was written it is sure who wrote it.
        let believed = match &done {
            Ok(_) => call.writes() || call.proves_itself,
            Err(fault) => fault.passes(),
        };
        if !believed {
            self.confirm(tenure, &mut connection).await?;
        }
        self.wire().keep(connection);
        done
    }

    async fn ask(
        &self,
        tenure: &Tenure,
        connection: &mut Connection,
        call: &Call,
        token: &Token,
    ) -> Result<Answer, Fault> {
        if call.writes() && connection.confirmed.is_none_or(|when| since(when) > WORD) {
            self.confirm(tenure, connection).await?;
        }
        let namespace = self.settings().namespace.as_deref();
        let (method, body, room) = (call.method.clone(), call.body.clone(), call.room);
        self.exchange(connection, &Ask { method, path: &call.path, namespace, token: Some(token), body, room }).await
    }

    /// Whether the node at the other end is still the active one that it was when the call began.
    async fn confirm(&self, tenure: &Tenure, connection: &mut Connection) -> Result<(), Fault> {
        let asked = BootClock.boot();
        if !self.leader(connection).await?.is(tenure) {
            return Err(Fault::Standby(tenure.address.to_string()));
        }
        connection.confirmed = Some(asked);
        Ok(())
    }

    /// What the node at the other end knows of the active one.
    pub(super) async fn leader(&self, connection: &mut Connection) -> Result<Leader, Fault> {
        let from = connection.address().to_string();
        let (method, body) = (Method::GET, Bytes::new());
        let ask = Ask { method, path: "sys/leader", namespace: None, token: None, body, room: 0 };
        let answer = self.exchange(connection, &ask).await?;
        match answer.status {
            200 => Leader::parse(&answer.body).ok_or_else(|| Fault::of(&from, 200, None, b"")),
            status => Err(Fault::of(&from, status, answer.retry_after, &answer.body)),
        }
    }

    async fn exchange(&self, connection: &mut Connection, ask: &Ask<'_>) -> Result<Answer, Fault> {
        let sent = machine_time();
        let answer = self.wire().exchange(connection, ask).await?;
        if let Some(date) = answer.date {
            self.clock().saw(date, sent, machine_time());
        }
        Span::current().record("status", answer.status);
        Ok(answer)
    }
}
