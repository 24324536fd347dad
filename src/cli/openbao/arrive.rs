//! The wait until OpenBao is there and set up, with the gate saying what is missing.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{GATE, NotSetUp, OpenBao};
use crate::{
    http::Gates,
    openbao::{
        Fault,
        setup::{Report, SetupError, check_own},
    },
};

/// How often OpenBao is asked until it is there.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked at least until it is set up: the time doubles from the one above.
const SELDOM: Duration = Duration::from_secs(10);

/// What keeps it from being used, and may pass.
enum Wanting {
    /// It cannot be asked now.
    Away(Fault),
    /// It is not set up: all that is missing, as far as it is seen.
    SetUp(String),
}

impl OpenBao {
    /// Waits until OpenBao is there, and opens its gate. Answers false where `stop` came first.
    ///
    /// # Errors
    /// It is there, and not set up or not for this token, where that is not waited for: everything that is missing.
    pub(super) async fn arrive(
        &self,
        gates: &Gates,
        not_set_up: NotSetUp,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, String> {
        let (mut said, mut pause) = (None, AGAIN);
        loop {
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
                looked = self.look() => looked,
            };
            if let Ok(report) = &looked
                && report.is_good()
            {
                report.notes.iter().for_each(|note| warn!("{note}"));
                info!("{}", report.to_string().lines().next().unwrap_or_default());
                gates.open(GATE);
                return Ok(true);
            }
            let wanting = self.wanting(looked, not_set_up)?;
            // A cluster that comes up says something else each time; what is missing changes as it is set up.
            let now = match &wanting {
                Wanting::Away(fault) => fault.kind().to_owned(),
                Wanting::SetUp(missing) => missing.clone(),
            };
            let changed = said.replace(now.clone()) != Some(now);
            match wanting {
                Wanting::Away(fault) => {
                    gates.shut(GATE, format!("OpenBao is waited for: {fault}"));
                    if changed {
                        warn!(%fault, "OpenBao cannot be used yet: it is waited for, and requests are answered with 503");
                    }
                    pause = AGAIN;
                }
                Wanting::SetUp(missing) => {
                    if changed {
                        warn!(
                            missing,
                            "OpenBao is not set up yet: that is waited for, and requests are answered with 503"
                        );
                        pause = AGAIN;
                    } else {
                        pause = (pause * 2).min(SELDOM);
                    }
                    gates.shut(GATE, missing);
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Ok(false),
                () = sleep(pause) => {}
            }
        }
    }

    /// What is waited for after a look that was not good.
    ///
    /// # Errors
    /// That is none to wait for.
    fn wanting(&self, looked: Result<Report, SetupError>, not_set_up: NotSetUp) -> Result<Wanting, String> {
        let (missing, heals) = match looked {
            Err(SetupError::Fault { fault, .. }) if fault.passes() => return Ok(Wanting::Away(fault)),
            Ok(report) => (format!("{report}\ntofustate bootstrap --check lists it without changing anything"), true),
            Err(error) => (format!("{error}{}", hint(&error)), self.heals(&error)),
        };
        if heals && not_set_up == NotSetUp::IsWaitedFor { Ok(Wanting::SetUp(missing)) } else { Err(missing) }
    }

    /// Whether another look may find it set up: where what is missing can be made, and the token, if it is that, can be
    /// another. One of the environment cannot before the next start.
    fn heals(&self, error: &SetupError) -> bool {
        let SetupError::Fault { fault, .. } = error else { return false };
        match fault {
            Fault::Gone(_) | Fault::RoleGone(_) | Fault::PolicyGone(_) | Fault::Denied(_) => true,
            Fault::InvalidToken | Fault::NoToken(_) => self.login.may_have_another(),
            _ => false,
        }
    }

    async fn look(&self) -> Result<Report, SetupError> {
        // At once, where the check itself would be patient.
        let active = self.bao.active().await;
        active.map_err(|fault| SetupError::Fault { doing: "looking for the active node".to_owned(), fault })?;
        check_own(&self.bao, &self.login, &self.setup).await
    }
}

/// What to do about a token that is not taken.
fn hint(error: &SetupError) -> &'static str {
    match error {
        SetupError::Fault { fault: Fault::InvalidToken | Fault::Denied(_), .. } => {
            ". Is the token of BAO_TOKEN_FILE or BAO_TOKEN one of this server and of BAO_NAMESPACE? tofustate bootstrap --operator-token-file makes one"
        }
        _ => "",
    }
}
