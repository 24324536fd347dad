//! OpenBao as the store of a server: what the environment says of it, the gate that says when it is away, and the end of
//! the tokens. The wait until it is there and set up is in `arrive`.

mod arrive;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{stop::Stop, tasks::Tasks};
use crate::{
    http::Gates,
    openbao::{
        BadName, Bao, Credential, CredentialError, Instance, Keeper, Leads, Login, OpenBaoStores, Settings,
        SettingsError, setup::Setup,
    },
    telemetry::OpenBaoMetrics,
};

/// The gate of the admin listener that is shut while OpenBao is away.
const GATE: &str = "store";
/// How often it is asked whether it still is.
const LOOK: Duration = Duration::from_secs(5);
/// How long the end of the process waits for it.
pub(super) const END: Duration = Duration::from_secs(15);

/// What becomes of a start at which OpenBao answers, and is not set up or not for this token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSetUp {
    /// It ends with a list of what is missing: whoever started it reads that.
    Ends,
    /// It is waited for what `tofustate bootstrap` sets up meanwhile, and the gate says what is missing: nobody is there to
    /// start it again at the right moment.
    IsWaitedFor,
}

/// What the environment says, checked.
pub(super) struct Prepared {
    bao: Bao,
    setup: Setup,
    login: Login,
    patience: Duration,
    metrics: OpenBaoMetrics,
}

/// OpenBao with the tokens of the states.
pub(super) struct OpenBao {
    pub(super) bao: Bao,
    setup: Setup,
    login: Login,
    pub(super) stores: OpenBaoStores,
    /// How long it may be away before the gate shuts: requests wait as long, so that a failover keeps no client out.
    patience: Duration,
    metrics: OpenBaoMetrics,
    /// Why it is away, while it is.
    pub(super) away: watch::Sender<Option<String>>,
}

/// What is wrong with what it was told of OpenBao.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenBaoError {
    #[error("OpenBao as the store needs --instance (TOFUSTATE_INSTANCE): the one that tofustate bootstrap was given")]
    NoInstance,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Name(#[from] BadName),
}

impl Prepared {
    /// What `--instance` and the environment say, where requests wait for the store for `wait`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn read(
        instance: Option<&str>,
        wait: Duration,
        metrics: OpenBaoMetrics,
    ) -> Result<Self, Vec<OpenBaoError>> {
        let unused = Settings::unused_in_env();
        if !unused.is_empty() {
            warn!("these variables are set and not used: {}; docs/openbao.md has those that are", unused.join(", "));
        }
        let mut wrong = Vec::new();
        let instance = instance.ok_or(OpenBaoError::NoInstance);
        let instance = note(&mut wrong, instance.and_then(|name| Ok(Instance::parse(name)?)));
        let bao = note(&mut wrong, Bao::from_env(wait, metrics.clone()));
        // The name is that of a role at most: what else is wrong is told without it.
        let any = instance.clone().or_else(|| Instance::parse("any").ok());
        let credential = any.and_then(|any| note(&mut wrong, Credential::from_env(&any)));
        let credential = credential.and_then(|found| note(&mut wrong, found.check().map(|()| found)));
        let (Some(instance), Some(bao), Some(credential)) = (instance, bao, credential) else { return Err(wrong) };
        let setup = Setup::new(bao.settings(), instance).map_err(|error| vec![error.into()])?;
        let login = Login::new(bao.clone(), credential, &setup.instance).map_err(|error| vec![error.into()])?;
        Ok(Self { bao, setup, login, patience: wait, metrics })
    }

    /// With the tokens of the states where this keeper keeps them.
    pub(super) fn open(self, keeper: Arc<dyn Keeper>, leads: Leads) -> Result<OpenBao, OpenBaoError> {
        let Self { bao, setup, login, patience, metrics } = self;
        let own = Arc::new(login.clone());
        let stores = OpenBaoStores::new(bao.clone(), own, setup.instance.clone(), keeper, leads)?;
        Ok(OpenBao { bao, setup, login, stores, patience, metrics, away: watch::Sender::new(None) })
    }
}

/// Takes note of an error; there is nothing then.
fn note<T, E: Into<OpenBaoError>>(wrong: &mut Vec<OpenBaoError>, found: Result<T, E>) -> Option<T> {
    found.map_err(|error| wrong.push(error.into())).ok()
}

impl OpenBao {
    /// Starts what keeps the tokens alive and looks whether OpenBao is there; `arrived` hears when it is and is set up.
    pub(super) fn keep(
        self: &Arc<Self>,
        tasks: &mut Tasks,
        gates: &Gates,
        arrived: watch::Sender<bool>,
        not_set_up: NotSetUp,
        stop: &watch::Receiver<bool>,
    ) {
        gates.shut(GATE, "OpenBao has not answered yet");
        let (login, stopped) = (self.login.clone(), stop.clone());
        tasks.spawn("the login at OpenBao", async move {
            login.run(stopped).await;
            Ok(())
        });
        let (stores, stopped) = (self.stores.clone(), stop.clone());
        tasks.spawn("the renewal of states' tokens", async move {
            stores.run(stopped).await;
            Ok(())
        });
        let (this, gates, mut stopped) = (self.clone(), gates.clone(), stop.clone());
        tasks.spawn("the start with OpenBao", async move {
            if this.arrive(&gates, not_set_up, &mut stopped).await? {
                arrived.send_replace(true);
                this.watch(&gates, stopped).await;
            }
            Ok(())
        });
    }

    /// Shuts the gate while OpenBao is away for longer than a failover takes, until `stop`.
    async fn watch(&self, gates: &Gates, mut stop: watch::Receiver<bool>) {
        let (mut since, mut shut) = (Instant::now(), false);
        loop {
            let looked = async {
                sleep(LOOK).await;
                self.login.answers().await
            };
            let looked = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                looked = looked => looked,
            };
            match looked {
                Err(fault) if fault.passes() => {
                    if since.elapsed() < self.patience {
                        continue;
                    }
                    gates.shut(GATE, format!("OpenBao is away: {fault}"));
                    if !std::mem::replace(&mut shut, true) {
                        self.metrics.away(true);
                        self.away.send_replace(Some(fault.to_string()));
                        warn!(%fault, "OpenBao is away: requests are answered with 503 until it is back");
                    }
                }
                // Where the own token is not taken any more, those of the states still are for a while.
                Ok(()) | Err(_) => {
                    since = Instant::now();
                    gates.open(GATE);
                    if std::mem::take(&mut shut) {
                        self.metrics.away(false);
                        self.away.send_replace(None);
                        info!("OpenBao answers again");
                    }
                }
            }
        }
    }

    /// Ends the tokens of the states, where they are this process's own, and last the login: when nothing uses them any
    /// more. A signal cuts it off.
    pub(super) async fn end(&self, own: bool, stop: &mut Stop) {
        let all = async {
            if own {
                self.stores.end().await;
            }
            self.login.end().await;
        };
        let left = "tokens live on: those of states are kept, and used by the next start";
        tokio::select! {
            ended = timeout(END, all) => {
                if ended.is_err() {
                    warn!("OpenBao does not answer: {left}");
                }
            }
            signal = stop.wait() => warn!(signal, "{left}"),
        }
    }
}
