//! What people ask for by annotation: force-unlock, rollback, a look now. Each request is carried out once; what came of it
//! stands in `lastHandled`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tracing::info;

use super::{
    context::{Context, Fault, name_of},
    events::Kind,
};
use crate::{
    crd::{
        Handled, LastHandled, TofuStateBackend,
        annotations::{ACCEPT_EMPTY, ACCEPT_RESTORE, FORCE_UNLOCK, RECONCILE, ROLLBACK_TO},
        clip,
        outcome::{DONE, FAILED, REFUSED},
        plain,
    },
    store::{Budget, State, StateError},
};

/// As who a request by annotation is recorded.
const BY: &str = "annotation";
/// What `rollback-to` names where there is no current version.
const NONE: &str = "none";

fn annotation<'a>(resource: &'a TofuStateBackend, name: &str) -> Option<&'a str> {
    resource.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn handled(resource: &TofuStateBackend) -> Option<&LastHandled> {
    resource.status.as_ref()?.last_handled.as_ref()
}

/// Whether a look is asked for that was not taken yet.
pub(super) fn asked_to_look(resource: &TofuStateBackend) -> bool {
    let last = handled(resource).and_then(|last| last.reconcile.as_ref());
    annotation(resource, RECONCILE).is_some_and(|asked| is_new(asked, last))
}

/// Whether something is asked for that was not done yet.
pub(super) fn asks(resource: &TofuStateBackend) -> bool {
    let last = handled(resource);
    [
        (FORCE_UNLOCK, last.and_then(|last| last.force_unlock.as_ref())),
        (ROLLBACK_TO, last.and_then(|last| last.rollback.as_ref())),
        (RECONCILE, last.and_then(|last| last.reconcile.as_ref())),
    ]
    .into_iter()
    .any(|(name, last)| annotation(resource, name).is_some_and(|asked| is_new(asked, last)))
}

/// Whether a person's word is given that may mend a state.
pub(super) fn accepts(resource: &TofuStateBackend) -> bool {
    let stalled = resource.status.as_ref().is_some_and(|status| {
        status.condition(crate::crd::conditions::STORE_REACHABLE).is_some_and(|found| found.status != "True")
    });
    stalled && [ACCEPT_EMPTY, ACCEPT_RESTORE].into_iter().any(|name| annotation(resource, name).is_some())
}

/// What is to be done about a request: nothing where it was done, or was taken away.
fn fresh<'a>(asked: Option<&'a str>, last: &mut Option<Handled>) -> Option<&'a str> {
    let Some(asked) = asked else {
        // One that was refused may be asked for again, once it was taken away.
        if let Some(last) = last
            && last.outcome.as_deref() != Some(DONE)
        {
            last.request = None;
        }
        return None;
    };
    is_new(asked, last.as_ref()).then_some(asked)
}

fn is_new(asked: &str, last: Option<&Handled>) -> bool {
    last.and_then(|last| last.request.as_deref()) != Some(clip(asked).as_str())
}

/// Carries out what is asked for and was not yet.
pub(super) async fn run(
    context: &Context,
    resource: &TofuStateBackend,
    state: &State,
    last: &mut Option<LastHandled>,
) -> Result<(), Fault> {
    force_unlock(context, resource, state, last).await?;
    let mut all = last.clone().unwrap_or_default();
    if let Some(asked) = fresh(annotation(resource, ROLLBACK_TO), &mut all.rollback) {
        let done = match versions(asked) {
            Some((target, expected)) => {
                let budget = &mut Budget::new(super::LOOK);
                let done = state.rollback(target, expected, asked, BY, budget).await;
                outcome(done.map(|version| format!("version {target} is current again, as version {version}")))?
            }
            None => (
                REFUSED,
                format!(
                    "write <version>@<current version>, such as 3@5, both from status.history; {NONE} for the current one where there is no state"
                ),
            ),
        };
        all.rollback = Some(tell(context, resource, "Rollback", asked, done).await);
    }
    if let Some(asked) = fresh(annotation(resource, RECONCILE), &mut all.reconcile) {
        all.reconcile = Some(note(asked, &(DONE, "everything was looked at".to_owned())));
    }
    *last = Some(all).filter(|all| *all != LastHandled::default());
    Ok(())
}

/// The same, but breaking a lock only: also while the resource is being deleted.
pub(super) async fn force_unlock(
    context: &Context,
    resource: &TofuStateBackend,
    state: &State,
    last: &mut Option<LastHandled>,
) -> Result<(), Fault> {
    let mut all = last.clone().unwrap_or_default();
    if let Some(asked) = fresh(annotation(resource, FORCE_UNLOCK), &mut all.force_unlock) {
        // An id may have spaces, but no line's end.
        let id = asked.trim_matches(char::is_control);
        let done = state.force_unlock(id, BY, &mut Budget::new(super::LOOK)).await;
        let done = outcome(done.map(|lock| match lock {
            Some(lock) => format!("the lock of {} was broken", lock.identity),
            None => "it was released before".to_owned(),
        }))?;
        all.force_unlock = Some(tell(context, resource, "ForceUnlock", asked, done).await);
    }
    *last = Some(all).filter(|all| *all != LastHandled::default());
    Ok(())
}

/// `<version>@<current version>`.
fn versions(asked: &str) -> Option<(u64, Option<u64>)> {
    let (target, current) = asked.trim().split_once('@')?;
    let current = match current.trim() {
        NONE => None,
        number => Some(number.parse().ok()?),
    };
    Some((target.trim().parse().ok()?, current))
}

/// What came of it. A store that is away is waited for.
fn outcome(done: Result<String, StateError>) -> Result<(&'static str, String), Fault> {
    match done {
        Ok(message) => Ok((DONE, message)),
        Err(error @ (StateError::Unavailable { .. } | StateError::Busy { .. })) => Err(Fault::Away(error.to_string())),
        Err(error @ (StateError::Refused(_) | StateError::NoSuchVersion(_))) => Ok((REFUSED, error.to_string())),
        Err(error) => Ok((FAILED, error.to_string())),
    }
}

fn note(asked: &str, (outcome, message): &(&'static str, String)) -> Handled {
    Handled {
        request: Some(clip(asked)),
        outcome: Some((*outcome).to_owned()),
        message: Some(message.chars().map(plain).collect()),
        time: Some(Time(Context::now())),
    }
}

async fn tell(
    context: &Context,
    resource: &TofuStateBackend,
    what: &str,
    asked: &str,
    done: (&'static str, String),
) -> Handled {
    let (outcome, message) = &done;
    let asked_for = clip(asked);
    info!(resource = %name_of(resource), request = asked_for.escape_debug().to_string(), outcome, "{what} was asked for: {message}");
    let kind = if *outcome == DONE { Kind::Normal } else { Kind::Warning };
    let note_text = format!("{}: {message}", asked_for.escape_debug());
    context.events.of(resource, kind, &format!("{what}{outcome}"), &note_text).await;
    note(asked, &done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{TofuStateBackendSpec, TofuStateBackendStatus};

    #[test]
    fn a_rollback_names_both_versions() {
        for (text, read) in [
            ("3@5", Some((3, Some(5)))),
            (" 3 @ none ", Some((3, None))),
            ("3", None),
            ("a@b", None),
            ("3@", None),
            ("@5", None),
            ("-1@5", None),
        ] {
            assert_eq!(versions(text), read, "{text}");
        }
    }

    #[test]
    fn a_request_is_carried_out_once_and_a_refused_one_again_after_it_was_taken_away() {
        let mut last = None;
        assert_eq!(fresh(Some("a"), &mut last), Some("a"));
        last = Some(note("a", &(REFUSED, String::new())));
        assert_eq!(fresh(Some("a"), &mut last), None);
        assert_eq!(fresh(Some("b"), &mut last), Some("b"));
        assert_eq!(fresh(None, &mut last), None);
        assert_eq!(fresh(Some("a"), &mut last), Some("a"));
        last = Some(note("a", &(DONE, String::new())));
        assert_eq!(fresh(None, &mut last), None);
        assert_eq!(fresh(Some("a"), &mut last), None, "it was done");
    }

    #[test]
    fn a_look_is_asked_for_once_however_long_the_text_is() {
        let mut resource = TofuStateBackend::new("net", TofuStateBackendSpec::new("team/net"));
        for text in ["now", &"x".repeat(1000)] {
            let annotations = [(RECONCILE.to_owned(), text.to_owned())];
            resource.metadata.annotations = Some(annotations.into());
            assert!(asked_to_look(&resource) && asks(&resource), "{text}");
            let done = LastHandled { reconcile: Some(note(text, &(DONE, String::new()))), ..LastHandled::default() };
            resource.status =
                Some(TofuStateBackendStatus { last_handled: Some(done), ..TofuStateBackendStatus::default() });
            assert!(!asked_to_look(&resource) && !asks(&resource), "{text}");
        }
    }
}
