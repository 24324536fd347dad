//! An admin's one-time set-up: makes what is missing, changes what differs, proves that it works. Safe to repeat.

use std::{fmt, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    Setup,
    admin::{Admin, PATIENCE, SetupError, doing, outward},
    item::{Item, State},
    make::foreign,
    probe::{probe, sweep},
};
use crate::openbao::{Bao, Fault, Token, request::Request};

/// How long an OpenBao that is just being started is waited for.
const STARTS: Duration = Duration::from_secs(15);
/// How long a write is tried again that OpenBao could not do, as where two write the same at once.
const COLLIDES: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Waits for an active node, for some seconds: OpenBao may just be starting. `tell` hears once that it waits, and why.
///
/// # Errors
/// There still is none, or what was found does not change by itself.
pub async fn await_active(bao: &Bao, tell: impl FnOnce(&Fault)) -> Result<(), SetupError> {
    let until = Instant::now() + STARTS;
    let mut tell = Some(tell);
    loop {
        match bao.active().await {
            Err(fault) if starts(&fault) && Instant::now() < until => {
                if let Some(tell) = tell.take() {
                    tell(&fault);
                }
                sleep(PAUSE).await;
            }
            done => return doing("looking for the active OpenBao node", done.map(drop)),
        }
    }
}

/// Whether a server that is just starting looks like this.
fn starts(fault: &Fault) -> bool {
    matches!(fault, Fault::Unreachable(_) | Fault::Lost(_) | Fault::Standby(_) | Fault::Sealed(_) | Fault::NotReady(_))
}

/// What was done about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What it is, for a person.
    pub what: String,
    /// As what it was found, and now it is as it should be.
    pub was: State,
}

/// Sets everything up with an admin's token, and tries it. `entries`: the mount may hold entries that are not from here.
/// `tell` hears of each thing when it is done. Answers how many earlier tries were cut off, and had left something behind
/// that is removed now.
///
/// # Errors
/// Something could not be done, would do harm, or does not work; what was told before is done.
pub async fn bootstrap(
    bao: &Bao,
    admin: &Token,
    setup: &Setup,
    entries: bool,
    mut tell: impl FnMut(&Done),
) -> Result<usize, SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    admin.known().await?;
    let mut new_mount = false;
    for item in setup.items() {
        let what = item.what();
        let config = matches!(&item, Item::Entry(entry) if entry.path == format!("{}/config", setup.mount));
        let mut was = look(&admin, &item).await?;
        match &was {
            State::Good => {}
            State::Unread(why) => {
                return Err(SetupError::Refused(format!("{what} cannot be set up: {why}")));
            }
            State::Missing | State::Differs(_) => {
                if config && !new_mount && !entries && foreign(&admin, &setup.mount).await? {
                    return Err(SetupError::Refused(format!(
                        "the mount {} holds entries that are not tofustate's, and its config would change for them too (one version each, no write without check-and-set): name another mount, or say --existing-entries where that is wanted",
                        setup.mount
                    )));
                }
                make(&admin, &item, &was).await?;
            }
        }
        match &item {
            Item::Mount(_) => new_mount = was == State::Missing,
            // What a mount has by itself is no former setting.
            Item::Entry(_) if config && new_mount => was = State::Missing,
            _ => {}
        }
        tell(&Done { what, was });
    }
    let left = doing("removing what an earlier try left", sweep(&admin, setup).await)?;
    probe(&admin, setup).await?;
    Ok(left)
}

/// Looks for a thing. One that is just being made or removed is waited for.
async fn look(admin: &Admin, item: &Item) -> Result<State, SetupError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = doing(format!("looking for {}", item.what()), item.look(admin).await)?;
        if !found.passes() || Instant::now() >= until {
            return Ok(found);
        }
        sleep(PAUSE).await;
    }
}

/// Makes a thing what it should be, which it was not. Another bootstrap may do the same at this moment: what fails by that
/// is looked at again.
async fn make(admin: &Admin, item: &Item, was: &State) -> Result<(), SetupError> {
    let until = Instant::now() + COLLIDES;
    loop {
        let made = item.make(admin, was).await;
        let again = match &made {
            Ok(()) | Err(SetupError::Fault { fault: Fault::Refused { .. }, .. }) => false,
            Err(SetupError::Fault { fault: Fault::Failed { .. }, .. }) => Instant::now() < until,
            Err(_) => return made,
        };
        // Whatever OpenBao made of it, or another that was faster.
        match (look(admin, item).await?, made) {
            (State::Good, _) => return Ok(()),
            (is, Ok(())) => return Err(SetupError::Probe(format!("{} was written and {is}", item.what()))),
            (_, Err(error)) if !again => return Err(error),
            _ => sleep(PAUSE).await,
        }
    }
}

/// Ends the admin's token.
///
/// # Errors
/// It may not do that anywhere.
pub async fn revoke_admin(bao: &Bao, admin: &Token, setup: &Setup) -> Result<(), SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    let mut done = Ok(());
    // A token may do this in its own namespace, which is that of the set-up or one around it.
    for namespace in outward(setup.namespace.as_deref()) {
        let here = doing("ending the admin's token", admin.within(namespace))?;
        done = here.ask(&Request::post("auth/token/revoke-self", json!({}))).await.map(drop);
        if !matches!(done, Err(Fault::Denied(_))) {
            break;
        }
    }
    doing("ending the admin's token", done)
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, was } = self;
        match was {
            State::Good => write!(f, "{what}: already so"),
            State::Differs(_) => write!(f, "{what}: changed (it {was})"),
            State::Missing | State::Unread(_) => write!(f, "{what}: made"),
        }
    }
}
