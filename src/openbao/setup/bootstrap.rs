//! An admin's one-time set-up: makes what is missing, changes what differs, proves that it works. Safe to repeat.

use std::{fmt, io, path::Path, time::Duration};

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    PERIOD, Setup,
    admin::{Admin, SetupError, doing},
    item::{Item, State},
    make::foreign,
    probe::probe,
};
use crate::{
    openbao::{
        Bao, Fault, Token, read_token,
        request::Request,
        tokens::{life, minted},
    },
    private,
};

/// How long an OpenBao that is just being started is waited for.
const STARTS: Duration = Duration::from_secs(15);
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
/// `tell` hears of each thing when it is done.
///
/// # Errors
/// Something could not be done, would do harm, or does not work; what was told before is done.
pub async fn bootstrap(
    bao: &Bao,
    admin: &Token,
    setup: &Setup,
    entries: bool,
    mut tell: impl FnMut(&Done),
) -> Result<(), SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    let mut new_mount = false;
    for item in setup.items() {
        let what = item.what();
        let config = matches!(&item, Item::Entry(entry) if entry.path == format!("{}/config", setup.mount));
        let mut was = doing(format!("looking for {what}"), item.look(&admin).await)?;
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
                item.make(&admin, &was).await?;
                // Whatever OpenBao made of it.
                let is = doing(format!("looking for {what}"), item.look(&admin).await)?;
                if is != State::Good {
                    return Err(SetupError::Probe(format!("{what} was written and {is}")));
                }
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
    probe(&admin, setup).await
}

/// What is in the file for the operator's token.
pub(super) enum There {
    /// It is not there.
    Nothing,
    /// A token that lives and has the operator's policy alone.
    Good,
    /// One that OpenBao does not know.
    Dead,
    /// One that lives, and may not even look at itself.
    Denied,
    /// One with these policies.
    Other(Vec<String>),
    /// It is not private, or has no token in it.
    Unreadable(String),
}

/// Looks what is in the file for the operator's token. Changes nothing.
pub(super) async fn look_at_file(bao: &Bao, setup: &Setup, file: &Path) -> Result<There, SetupError> {
    const LOOKING: &str = "looking at the operator's token";
    if !file.exists() {
        return Ok(There::Nothing);
    }
    let token = match read_token(file) {
        Ok(token) => token,
        Err(error) => return Ok(There::Unreadable(error.to_string())),
    };
    match bao.request(Some(&token), &Request::lookup_self()).await {
        Ok(found) => {
            let policies = doing(LOOKING, life(found.data))?.policies;
            let good = policies == [setup.instance.operator_policy()];
            Ok(if good { There::Good } else { There::Other(policies) })
        }
        // Without its namespace no token lives.
        Err(Fault::InvalidToken | Fault::Gone(_)) => Ok(There::Dead),
        Err(Fault::Denied(_)) => Ok(There::Denied),
        Err(fault) => Err(SetupError::Fault { doing: LOOKING.to_owned(), fault }),
    }
}

/// Has the operator's own token in a file, for an operator that has no login: one that lives as long as it is renewed.
/// Answers whether it was made now.
///
/// # Errors
/// It could not be made or written, or something else is in the file.
pub async fn operator_token(bao: &Bao, admin: &Token, setup: &Setup, file: &Path) -> Result<bool, SetupError> {
    let policy = setup.instance.operator_policy();
    let unusable = |why: String| SetupError::Refused(format!("the operator's token cannot be kept: {why}"));
    match look_at_file(bao, setup, file).await? {
        There::Good => return Ok(false),
        There::Nothing | There::Dead | There::Denied => {}
        // Whatever else it is, it is not overwritten.
        There::Unreadable(why) => return Err(unusable(why)),
        There::Other(_) => return Err(unusable(format!("{} has a token with other policies", file.display()))),
    }
    let body = json!({
        "policies": [policy],
        "no_default_policy": true,
        "period": PERIOD,
        "display_name": format!("tofustate operator {}", setup.instance.as_str()),
    });
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    let made = admin.ask(&Request::post("auth/token/create-orphan", body)).await.and_then(|reply| minted(reply.auth));
    let made = doing("making the operator's token", made)?;
    let written: io::Result<()> = private::write(file, format!("{}\n", made.token.expose()).as_bytes());
    if let Err(error) = written {
        doing("ending the operator's token again", admin.ask(&Request::revoke(&made.accessor)).await)?;
        return Err(unusable(format!("{} cannot be written: {error}", file.display())));
    }
    Ok(true)
}

/// Ends the admin's token.
///
/// # Errors
/// It may not do that anywhere.
pub async fn revoke_admin(bao: &Bao, admin: &Token, setup: &Setup) -> Result<(), SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    // A token may do this in its own namespace, which is that of the set-up or one around it.
    let mut namespace = setup.namespace.as_deref();
    loop {
        let here = doing("ending the admin's token", admin.within(namespace))?;
        match (here.ask(&Request::post("auth/token/revoke-self", json!({}))).await, namespace) {
            (Err(Fault::Denied(_)), Some(inner)) => namespace = inner.rsplit_once('/').map(|(outer, _)| outer),
            (done, _) => return doing("ending the admin's token", done.map(drop)),
        }
    }
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
