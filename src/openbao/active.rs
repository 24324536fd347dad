//! Which node is the active one. Standbys answer reads themselves, behind it (OpenBao 2.5 and later), so nothing is asked
//! of them but who it is.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::info;

use super::{Address, Bao, Fault, Settings};

/// How long a node may take to say who is active: where one is frozen, the others know.
const ASK: Duration = Duration::from_secs(3);

/// One node's time as the active one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Where it is.
    pub address: Address,
    /// Since when, as it says; another time after a snapshot was restored. `None` for a server without high
    /// availability.
    pub since: Option<String>,
    /// Counts the tenures that this process saw.
    pub number: u64,
}

/// What `sys/leader` answers.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Leader {
    ha_enabled: bool,
    #[serde(default)]
    is_self: bool,
    #[serde(default)]
    active_time: Option<String>,
    #[serde(default)]
    leader_address: String,
}

impl Leader {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Since when the node that says this is active: `None` for a standby.
    fn active(&self) -> Option<Option<&str>> {
        match self.ha_enabled {
            false => Some(None),
            true => self.is_self.then_some(self.active_time.as_deref()),
        }
    }

    /// Whether the node that says this is the active one of `tenure`, all the time since.
    pub(super) fn is(&self, tenure: &Tenure) -> bool {
        self.active() == Some(tenure.since.as_deref())
    }
}

/// The active node as it was last seen.
#[derive(Default)]
pub(super) struct Active {
    known: Mutex<Known>,
    /// One looks at a time; the others take what it found.
    looking: tokio::sync::Mutex<()>,
    /// The number of the last tenure.
    number: AtomicU64,
}

#[derive(Default)]
struct Known {
    last: Option<Arc<Tenure>>,
    /// Whether the last one may not be it any more.
    doubted: bool,
}

impl Active {
    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sure(&self) -> Option<Arc<Tenure>> {
        let known = self.known();
        known.last.clone().filter(|_| !known.doubted)
    }

    /// Takes note of the active node, and answers whether its tenure is a new one.
    fn found(&self, address: Address, since: Option<String>) -> (Arc<Tenure>, bool) {
        let mut known = self.known();
        known.doubted = false;
        // A server without high availability does not say whether it was started anew.
        let same = |last: &&Arc<Tenure>| since.is_some() && last.since == since && last.address == address;
        if let Some(last) = known.last.as_ref().filter(same) {
            return (last.clone(), false);
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let tenure = Arc::new(Tenure { address, since, number });
        known.last = Some(tenure.clone());
        (tenure, true)
    }
}

impl Bao {
    /// The active node: as it is known, or looked for now.
    ///
    /// # Errors
    /// None is reachable, or none is active.
    pub async fn active(&self) -> Result<Arc<Tenure>, Fault> {
        let active = self.active_node();
        if let Some(tenure) = active.sure() {
            return Ok(tenure);
        }
        let _turn = active.looking.lock().await;
        if let Some(tenure) = active.sure() {
            return Ok(tenure);
        }
        let (address, since) = self.look().await?;
        let (tenure, new) = active.found(address, since);
        if new {
            info!(address = %tenure.address, since = tenure.since, "the active OpenBao node");
            self.metrics().active_node_changed();
        }
        Ok(tenure)
    }

    /// A call on `tenure` ended in `fault`: where another node may be active by now, the next call looks for it.
    pub fn note(&self, tenure: &Tenure, fault: &Fault) {
        if fault.asks_for_another_node() {
            self.doubt(tenure);
        }
    }

    /// The next call looks whether this is still the active node.
    pub(super) fn doubt(&self, tenure: &Tenure) {
        let mut known = self.active_node().known();
        if known.last.as_ref().is_some_and(|last| last.number == tenure.number) {
            known.doubted = true;
        }
    }

    /// Changes with each tenure: with the active node, and when a snapshot is restored.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.active_node().number.load(Ordering::Relaxed)
    }

    /// Asks every address at once, and whoever they say is active.
    async fn look(&self) -> Result<(Address, Option<String>), Fault> {
        let settings = self.settings();
        let mut asked = settings.addresses.clone();
        let mut asking: FuturesUnordered<_> = asked.iter().cloned().map(|address| self.ask_address(address)).collect();
        let mut faults = Vec::new();
        while let Some((address, answer)) = asking.next().await {
            let leader = match answer {
                Ok(leader) => leader,
                Err(wrong) => {
                    faults.push(wrong);
                    continue;
                }
            };
            let named = follow(settings, &address, &leader.leader_address);
            if let Some(since) = leader.active() {
                let own = named.ok().flatten().filter(|own| *own != address);
                return Ok((self.prefer(own, since).await.unwrap_or(address), since.map(str::to_owned)));
            }
            match named {
                Ok(Some(next)) if !asked.contains(&next) => {
                    asked.push(next.clone());
                    asking.push(self.ask_address(next));
                }
                Ok(_) => faults.push(Fault::Standby(address.to_string())),
                Err(wrong) => faults.push(Fault::Unreachable(wrong)),
            }
        }
        let all: Vec<_> = faults.iter().map(ToString::to_string).collect();
        match <[Fault; 1]>::try_from(faults) {
            Ok([only]) => Err(only),
            Err(_) => Err(Fault::NotReady(format!("no node is active: {}", all.join("; ")))),
        }
    }

    /// The active node's own address, if it is the same node that is found there: the other may be a load balancer's,
    /// which leads to another node at the next connection.
    async fn prefer(&self, own: Option<Address>, since: Option<&str>) -> Option<Address> {
        let (own, answer) = self.ask_address(own?).await;
        answer.is_ok_and(|leader| leader.active() == Some(since)).then_some(own)
    }

    async fn ask_address(&self, address: Address) -> (Address, Result<Leader, Fault>) {
        let asked = timeout(ASK, async {
            let mut connection = self.wire().connect(&address).await?;
            let leader = self.leader(&mut connection).await?;
            self.wire().keep(connection);
            Ok(leader)
        });
        let late = |_| Err(Fault::Unreachable(format!("{address} does not say who is active: no answer in time")));
        let answer = asked.await.unwrap_or_else(late);
        (address, answer)
    }
}

/// Where a node says that the active one is, if that is a place to go to.
fn follow(settings: &Settings, from: &Address, named: &str) -> Result<Option<Address>, String> {
    if named.is_empty() {
        return Ok(None);
    }
    let refused = |why: &str| {
        format!(
            "{from} is a standby, and what it names as the active node's address (its api_addr) is not used: {why}; \
             set api_addr, or give the addresses of all nodes, or one that always is the active one's"
        )
    };
    let next = Address::parse(named, settings.plain_http).map_err(|wrong| refused(&wrong))?;
    if from.is_https() && !next.is_https() {
        return Err(refused("it is plain HTTP, and this one is not"));
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, true).unwrap()
    }

    #[test]
    fn a_leader_is_read_as_openbao_writes_it() {
        let active = br#"{"ha_enabled":true,"is_self":true,"active_time":"2026-11-21T11:10:02.639645898Z","leader_address":"http://127.0.0.1:18200","leader_cluster_address":"https://127.0.0.1:18201","raft_committed_index":29,"raft_applied_index":29}"#;
        let tenure = |since: Option<&str>| Tenure {
            address: address("http://127.0.0.1:18200"),
            since: since.map(str::to_owned),
            number: 1,
        };
        let leader = Leader::parse(active).unwrap();
        assert!(leader.is(&tenure(Some("2026-11-21T11:10:02.639645898Z"))));
        assert!(!leader.is(&tenure(Some("2026-11-21T11:10:03Z"))) && !leader.is(&tenure(None)));
        let standby = br#"{"ha_enabled":true,"is_self":false,"active_time":"0001-01-01T00:00:00Z","leader_address":"http://127.0.0.1:18200","leader_cluster_address":"https://127.0.0.1:18201"}"#;
        let standby = Leader::parse(standby).unwrap();
        assert_eq!(standby.active(), None);
        assert!(!standby.is(&tenure(Some("0001-01-01T00:00:00Z"))));
        assert!(Leader::parse(br#"{"ha_enabled":false}"#).unwrap().is(&tenure(None)));
        for other in [&b"<html>"[..], b"{}", b"[]", br#"{"errors":["Vault is sealed"]}"#] {
            assert_eq!(Leader::parse(other), None);
        }
    }

    #[test]
    fn a_standby_is_followed_to_no_worse_place() {
        let settings = Settings::new(Vec::new());
        let follow = |from: &str, named: &str| follow(&settings, &address(from), named);
        assert_eq!(follow("https://a:8200", "https://b:8200"), Ok(Some(address("https://b:8200"))));
        assert_eq!(follow("http://127.0.0.1:1", "http://127.0.0.1:2"), Ok(Some(address("http://127.0.0.1:2"))));
        assert_eq!(follow("https://a:8200", ""), Ok(None));
        for (from, named) in [
            ("https://a:8200", "http://b:8200"),
            ("https://127.0.0.1:8200", "http://127.0.0.1:8300"),
            ("http://127.0.0.1:8200", "http://b:8200"),
            ("https://a:8200", "https://b:8200/base"),
            ("https://a:8200", "b:8200"),
        ] {
            assert!(follow(from, named).is_err(), "{from} {named}");
        }
    }

    #[test]
    fn the_same_tenure_has_the_same_number() {
        let active = Active::default();
        let (a, b) = (address("http://127.0.0.1:1"), address("http://127.0.0.1:2"));
        let number =
            |address: &Address, since: Option<&str>| active.found(address.clone(), since.map(str::to_owned)).0.number;
        assert_eq!(number(&a, Some("1")), 1);
        assert_eq!(number(&a, Some("1")), 1);
        assert_eq!(number(&a, Some("2")), 2, "a snapshot was restored");
        assert_eq!(number(&b, Some("2")), 3);
        assert_eq!(number(&a, None), 4);
        assert_eq!(number(&a, None), 5, "it may have been started anew");
    }
}
