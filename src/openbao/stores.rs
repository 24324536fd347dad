//! OpenBao as the store of many states: the owners with the operator's token, each state with a token of its own.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};
use tracing::warn;

use super::{
    BadName, Bao, Fault, Instance, Keeper, Kept, Leads, Mount, OpenBaoKv, PolicyName, ScopedToken, Token, TokenSource,
    Tokens, scoped::Unseen,
};
use crate::store::{Kv, StatePath, Stores, head::Owner};

/// How often it is looked which tokens are to be renewed.
const LOOK: Duration = Duration::from_secs(30);
/// How long the looks at tokens are apart that were read at once.
const EACH: Duration = Duration::from_millis(50);
/// How long a token is remembered that another replica should end.
const REMEMBERED: Duration = Duration::from_hours(1);
/// How many tokens are ended at a time.
const AT_ONCE: usize = 8;

/// The store of all states of an installation. Cloning shares it.
#[derive(Clone)]
pub struct OpenBaoStores {
    inner: Arc<Inner>,
}

struct Inner {
    tokens: Tokens,
    keeper: Arc<dyn Keeper>,
    leads: Leads,
    owners: Arc<dyn Kv>,
    states: Mutex<HashMap<PolicyName, ScopedToken>>,
    /// Tokens that are not looked after any more, and that this process did not end; and since when.
    left: Mutex<HashMap<PolicyName, (Instant, ScopedToken)>>,
    /// Hears of each.
    leaves: Notify,
    /// What was read at once, until it is asked for.
    read: Mutex<HashMap<PolicyName, Unseen>>,
}

impl OpenBaoStores {
    /// With `own`, the operator's token, and with the tokens of states where `keeper` keeps them. `leads` says each time
    /// which part of looking after them is this process's.
    ///
    /// # Errors
    /// The mount of the settings is none.
    pub fn new(
        bao: Bao,
        own: Arc<dyn TokenSource>,
        instance: Instance,
        keeper: Arc<dyn Keeper>,
        leads: Leads,
    ) -> Result<Self, BadName> {
        let mount = Mount::parse(&bao.settings().mount)?;
        let owners = Arc::new(OpenBaoKv::new(bao.clone(), own.clone()).limited());
        let tokens = Tokens::new(bao, own, instance, mount);
        Ok(Self {
            inner: Arc::new(Inner {
                tokens,
                keeper,
                leads,
                owners,
                states: Mutex::default(),
                left: Mutex::default(),
                leaves: Notify::new(),
                read: Mutex::default(),
            }),
        })
    }

    /// The token of a resource's state, where it was asked for.
    #[must_use]
    pub fn token(&self, namespace: &str, name: &str) -> Option<ScopedToken> {
        let name = PolicyName::new(self.inner.tokens.instance(), namespace, name).ok()?;
        self.inner.states().get(&name).cloned()
    }

    /// Reads the tokens of all states at once: thousands of them are about to be asked for. Until [`Self::read_each`].
    ///
    /// # Errors
    /// It cannot be done now: each is read when it is needed.
    pub async fn read_ahead(&self) -> Result<(), Fault> {
        let all = self.inner.keeper.list(self.inner.tokens.instance()).await?;
        let (now, count) = (Instant::now(), u32::try_from(all.len()).unwrap_or(u32::MAX));
        let spread = EACH.saturating_mul(count);
        let unseen = |kept| Unseen { kept, until: now + spread.mul_f64(rand::random_range(0.0..1.0)) };
        *self.inner.read() = all.into_iter().map(|(policy, kept)| (policy, unseen(kept))).collect();
        Ok(())
    }

    /// Each token is read by itself from now on.
    pub fn read_each(&self) {
        *self.inner.read() = HashMap::new();
    }

    /// Renews the tokens of states until `stop`.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            for token in self.inner.all() {
                // The others would wait for the same.
                if token.maintain((self.inner.leads)()).await.is_err_and(|fault| fault.is_away()) {
                    break;
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Looks after the token of a resource no longer, that went without [`Self::forget`], at least of this process. It stays
    /// kept, for [`Self::kept`] also of a later process; this one remembers it for an hour, should what is kept be lost.
    pub fn leave(&self, namespace: &str, name: &str) {
        let Some(name) = self.policy(namespace, name) else { return };
        let left = self.inner.states().remove(&name);
        if let Some(token) = left {
            token.close();
            let mut left = self.inner.left();
            left.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
            left.insert(name, (Instant::now(), token));
            self.inner.leaves.notify_one();
        }
    }

    /// Comes back when a token was left since the last time.
    pub async fn left(&self) {
        self.inner.leaves.notified().await;
    }

    /// The policy of a resource's state; `None` where no resource can have such a name.
    #[must_use]
    pub fn policy(&self, namespace: &str, name: &str) -> Option<PolicyName> {
        PolicyName::new(self.inner.tokens.instance(), namespace, name).ok()
    }

    /// The policies of all states that have a token kept, and of those that were left: what is kept of them may have been
    /// lost.
    ///
    /// # Errors
    /// It cannot be told now.
    pub async fn kept(&self) -> Result<Vec<PolicyName>, Fault> {
        let mut all = self.inner.keeper.all(self.inner.tokens.instance()).await?;
        let left: Vec<_> = self.inner.left().keys().filter(|name| !all.contains(name)).cloned().collect();
        all.extend(left);
        Ok(all)
    }

    /// Ends what a resource's state has in OpenBao besides the state itself: its tokens, its policy. Nothing uses them any
    /// more. Done already is done.
    ///
    /// # Errors
    /// OpenBao did not do it, or what is kept cannot be told.
    pub async fn forget(&self, namespace: &str, name: &str) -> Result<(), Fault> {
        let inner = &self.inner;
        // A resource without such a name never had any.
        let Some(name) = self.policy(namespace, name) else { return Ok(()) };
        let held = inner.states().remove(&name);
        let left = inner.left().get(&name).map(|(_, token)| token.clone());
        let mut ended = Vec::new();
        for token in held.into_iter().chain(left) {
            ended.extend(token.revoke().await?.iter().flat_map(|kept| kept.accessors().map(str::to_owned)));
        }
        loop {
            let kept = inner.load(&name).await?;
            for accessor in kept.iter().flat_map(Kept::accessors).filter(|one| !ended.iter().any(|ended| ended == one))
            {
                inner.tokens.revoke(accessor).await?;
            }
            inner.tokens.delete_policy(&name).await?;
            // What is kept goes last: by it a later process finds what is left. Another replica may have replaced it.
            if inner.drop_kept(&name, kept).await? {
                break;
            }
        }
        inner.left().remove(&name);
        Ok(())
    }

    /// Ends the tokens of all states, also those that an earlier process left: at the end of a process that keeps them for
    /// nobody. What could not be ended is kept for the next one.
    pub async fn end(&self) {
        let tokens = stream::iter(self.inner.all());
        let done = tokens.map(|token| async move { token.end().await }).buffer_unordered(AT_ONCE);
        let mut faults: Vec<Fault> = done.filter_map(|done| async move { done.err() }).collect().await;
        if faults.is_empty() {
            faults.extend(self.inner.end_left().await.err());
        }
        if let Some(fault) = faults.first() {
            warn!(tokens = faults.len(), %fault, "tokens of states could not be ended: they are kept for the next start");
        }
    }
}

impl Inner {
    fn states(&self) -> MutexGuard<'_, HashMap<PolicyName, ScopedToken>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, HashMap<PolicyName, (Instant, ScopedToken)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> MutexGuard<'_, HashMap<PolicyName, Unseen>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<ScopedToken> {
        self.states().values().cloned().collect()
    }

    /// Ends what is kept for states that nobody asked for since: their manifests went before this process began.
    async fn end_left(&self) -> Result<(), Fault> {
        for name in self.keeper.all(self.tokens.instance()).await.map_err(Fault::from)? {
            self.end_kept(&name).await?;
        }
        Ok(())
    }

    async fn end_kept(&self, name: &PolicyName) -> Result<(), Fault> {
        let kept = self.load(name).await?;
        for accessor in kept.iter().flat_map(Kept::accessors) {
            self.tokens.revoke(accessor).await?;
        }
        self.drop_kept(name, kept).await.map(drop)
    }

    async fn load(&self, name: &PolicyName) -> Result<Option<Kept>, Fault> {
        self.keeper.load(name).await.map_err(Fault::from)
    }

    /// Keeps nothing in place of this; answers false where that is something else by now.
    async fn drop_kept(&self, name: &PolicyName, kept: Option<Kept>) -> Result<bool, Fault> {
        let Some(kept) = kept else { return Ok(true) };
        self.keeper.replace(name, Some(&kept.accessor), None).await.map_err(Fault::from)
    }

    fn scoped(&self, path: &StatePath, owner: &Owner) -> Result<ScopedToken, BadName> {
        let name = PolicyName::new(self.tokens.instance(), &owner.namespace, &owner.name)?;
        let mut states = self.states();
        if let Some(token) = states.get(&name) {
            if token.path() == path {
                return Ok(token.clone());
            }
            // The policy can be that of one path only.
            token.close();
        }
        let read = self.read().remove(&name);
        let (tokens, keeper, leads) = (self.tokens.clone(), self.keeper.clone(), self.leads.clone());
        let token = ScopedToken::new(tokens, name.clone(), path.clone(), keeper, leads, read);
        states.insert(name, token.clone());
        Ok(token)
    }
}

impl Stores for OpenBaoStores {
    fn owners(&self) -> Arc<dyn Kv> {
        self.inner.owners.clone()
    }

    fn state(&self, path: &StatePath, owner: &Owner) -> Arc<dyn Kv> {
        let bao = self.inner.tokens.bao().clone();
        match self.inner.scoped(path, owner) {
            Ok(token) => Arc::new(OpenBaoKv::new(bao, Arc::new(token))),
            Err(wrong) => Arc::new(OpenBaoKv::new(bao, Arc::new(NoName(wrong)))),
        }
    }
}

/// The token of a resource for which there can be none.
struct NoName(BadName);

#[async_trait]
impl TokenSource for NoName {
    fn token(&self) -> Option<Token> {
        None
    }

    async fn obtain(&self) -> Result<Token, Fault> {
        Err(Fault::NoToken(self.0.to_string()))
    }

    async fn refused(&self, _: &Token) -> bool {
        false
    }
}

impl fmt::Debug for OpenBaoStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBaoStores").field("tokens", &self.inner.tokens).finish_non_exhaustive()
    }
}
