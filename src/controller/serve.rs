//! What the registry gets of a resource: its state and who may use it, now and for a while still.

use super::{
    context::{Context, Held, name_of},
    credentials::{self, Wanted},
    ledger::Ledger,
    objects::{self, Kept},
    observe::Observed,
};
use crate::{
    crd::{TofuStateBackend, annotations::REVOKE_NOW},
    registry::{Backend, Credential},
    store::State,
};

/// Who is to have which credential.
pub(super) fn plan(held: &mut Held, resource: &TofuStateBackend, observed: &Observed) -> Wanted {
    let found = observed.former.as_ref().or(observed.secret.as_ref());
    let Kept { token, altered, ledger } = objects::kept(found, resource, &held.ledger);
    held.ledger = ledger;
    let wanted = credentials::wanted(&resource.spec, token, &observed.secrets);
    Wanted { altered: altered && wanted.new, ..wanted }
}

/// The credentials that there are from now on, and those that were replaced. `given`: the main token can be had.
pub(super) fn noted(
    context: &Context,
    ledger: &Ledger,
    resource: &TofuStateBackend,
    wanted: &Wanted,
    given: bool,
) -> Ledger {
    let revoke = resource.metadata.annotations.as_ref().and_then(|all| all.get(REVOKE_NOW)).map(String::as_str);
    let now = context.paths.stores().owners().now();
    if given { ledger.with(&wanted.tokens(), revoke, now) } else { ledger.still(revoke, now) }
}

/// Serves the path to those who may use it. `written`: the connection Secret has the token.
pub(super) fn serve(
    context: &Context,
    held: &mut Held,
    resource: &TofuStateBackend,
    state: State,
    wanted: &Wanted,
    written: bool,
) {
    let mut credentials = wanted.hashes();
    let given = !wanted.new || written;
    held.ledger = noted(context, &held.ledger, resource, wanted, given);
    if !given {
        // Nobody has the new token: the one that runs have goes on.
        let is_main = |one: &&Credential| one.identity == credentials::TOKEN;
        credentials.retain(|one| !is_main(&one));
        let old = held.backend.as_ref().and_then(|old| old.credentials.iter().find(is_main).cloned());
        credentials.splice(0..0, old);
    }
    let former = held.ledger.former.clone();
    context.publish(held, Backend { resource: name_of(resource), state, credentials, former });
}
