//! What is missing or differs, all of it at once. Changes nothing.

use std::{fmt, path::Path};

use serde_json::{Value, json};

use super::{
    Setup,
    admin::{Admin, SetupError, doing},
    item::{Difference, Item, State},
    operator::{There, look_at_file},
};
use crate::openbao::{Bao, Fault, Policy, Token, TokenSource, request::Request};

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for a person.
    pub what: String,
    /// How it was found.
    pub state: State,
}

/// What was found of the whole set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where it was looked for.
    place: String,
    /// Each thing that was looked at.
    pub findings: Vec<Finding>,
    /// What a person should know all the same.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether all that was looked at is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.state == State::Good)
    }

    fn new(setup: &Setup, findings: Vec<Finding>, notes: Vec<String>) -> Self {
        let namespace = setup.namespace.as_ref().map_or_else(String::new, |name| format!("namespace {name}, "));
        let place = format!("{namespace}mount {}, instance {}", setup.mount, setup.instance.as_str());
        Self { place, findings, notes }
    }
}

/// Looks at everything with an admin's token; also at the `file` of the operator's, where there is to be one.
///
/// # Errors
/// OpenBao cannot be asked now, or does not know the token.
pub async fn check(bao: &Bao, admin: &Token, setup: &Setup, file: Option<&Path>) -> Result<Report, SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    // Where its namespace is not there, no call would tell: everything would only be missing.
    admin.known().await?;
    let mut findings = look(&admin, setup.items()).await?;
    if let Some(file) = file {
        findings.push(operator_file(bao, setup, file).await?);
    }
    let mut report = Report::new(setup, findings, Vec::new());
    if report.is_good() && file.is_none() && setup.kubernetes.is_none() {
        report.notes.push(
            "how the operator gets in was not looked at: give the same --kubernetes-auth or --operator-token-file as without --check"
                .to_owned(),
        );
    }
    Ok(report)
}

/// Whether the file has a token that the operator gets in with.
async fn operator_file(bao: &Bao, setup: &Setup, file: &Path) -> Result<Finding, SetupError> {
    let policy = setup.instance.operator_policy();
    let differs =
        |field: &str, found: Value, wanted: Value| State::Differs(vec![Difference::of(field, &found, &wanted)]);
    let state = match look_at_file(bao, setup, file).await? {
        There::Good => State::Good,
        There::Nothing => State::Missing,
        There::Dead => differs("its token", json!("revoked, expired or of another server"), json!("one that lives")),
        There::Denied => {
            differs("its token", json!("not allowed to look at itself"), json!(format!("one with the policy {policy}")))
        }
        There::Other(policies) => differs("its token's policy", json!(policies), json!([policy])),
        There::Unreadable(why) => State::Unread(why),
    };
    Ok(Finding { what: format!("the file of the operator's token {}", file.display()), state })
}

/// Looks at what the operator's own token may see, and at what that token may do. The login itself is none of that: it
/// was just used.
///
/// # Errors
/// There is no token, or OpenBao cannot be asked now.
pub async fn check_own(bao: &Bao, own: &dyn TokenSource, setup: &Setup) -> Result<Report, SetupError> {
    let token = doing("looking at OpenBao's set-up", own.obtain().await)?;
    let admin = Admin { bao: bao.clone(), token };
    let items =
        vec![Item::Mount(setup.mount.clone()), Item::Entry(setup.mount_config()), Item::Entry(setup.token_role())];
    // First, as it tells a token that is not known from one that may do little.
    let (rights, notes) = rights(&admin, setup).await?;
    let mut findings = look(&admin, items).await?;
    findings.push(Finding { what: "what the operator's token may do".to_owned(), state: rights });
    Ok(Report::new(setup, findings, notes))
}

/// Looks at the mount and its config with an admin's token.
///
/// # Errors
/// OpenBao cannot be asked now, or does not know the token.
pub async fn check_mount(bao: &Bao, admin: &Token, setup: &Setup) -> Result<Report, SetupError> {
    let admin = Admin { bao: bao.clone(), token: admin.clone() };
    let items = vec![Item::Mount(setup.mount.clone()), Item::Entry(setup.mount_config())];
    Ok(Report::new(setup, look(&admin, items).await?, Vec::new()))
}

async fn look(admin: &Admin, items: Vec<Item>) -> Result<Vec<Finding>, SetupError> {
    let mut findings = Vec::new();
    for item in items {
        let what = item.what();
        let state = doing(format!("looking for {what}"), item.look(admin).await)?;
        findings.push(Finding { what, state });
    }
    Ok(findings)
}

/// Whether the token may do what the operator's policy says, and what it may do beyond.
async fn rights(admin: &Admin, setup: &Setup) -> Result<(State, Vec<String>), SetupError> {
    // Any name will do below a path that ends in `*`.
    let example = |path: &str| path.strip_suffix('*').map_or_else(|| path.to_owned(), |start| format!("{start}x"));
    let policy = Policy::of_operator(&setup.mount, &setup.instance);
    let state = format!("{}/data/x", setup.mount);
    let paths: Vec<_> = policy.rules().iter().map(|rule| example(&rule.path)).chain([state.clone()]).collect();
    let request = Request::post("sys/capabilities-self", json!({ "paths": paths }));
    let found = match admin.ask(&request).await {
        Ok(found) => found.data,
        Err(Fault::Gone(why)) => return Ok((State::Unread(why), Vec::new())),
        Err(Fault::Denied(_)) => {
            let why = "it may not even ask that (sys/capabilities-self): does it have the operator's policy?";
            return Ok((State::Unread(why.to_owned()), Vec::new()));
        }
        Err(fault) => {
            return Err(SetupError::Fault { doing: "asking what the operator's token may do".to_owned(), fault });
        }
    };
    let may =
        |path: &str| -> Vec<&str> { found[path].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let missing = policy.rules().iter().filter_map(|rule| {
        let may = may(&example(&rule.path));
        let enough = may.contains(&"root") || rule.capabilities.iter().all(|capability| may.contains(capability));
        (!enough).then(|| Difference::of(&rule.path, &json!(may), &json!(rule.capabilities)))
    });
    let missing: Vec<_> = missing.collect();
    let mut notes = Vec::new();
    if may(&state) != ["deny"] {
        notes.push(
            "the operator's token may read or write states itself, and should not: it has more than the operator's policy"
                .to_owned(),
        );
    }
    Ok((if missing.is_empty() { State::Good } else { State::Differs(missing) }, notes))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_good() {
            write!(f, "OpenBao is set up as tofustate needs it ({})", self.place)?;
        } else {
            write!(f, "OpenBao is not set up as tofustate needs it ({}):", self.place)?;
            for Finding { what, state } in self.findings.iter().filter(|finding| finding.state != State::Good) {
                write!(f, "\n- {what} {state}")?;
            }
            write!(f, "\ntofustate bootstrap, with an admin's token, sets up what is missing")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}
