//! Control calls, by vaultrs: login, mounts, policies, roles, tokens. Its client is made here with every field set, over
//! our own HTTP client, for the node that is active.

use std::{fmt, ops::Deref, sync::Arc};

use reqwest::Url;
use rustify::clients::reqwest::Client as Rest;
use vaultrs::{
    api::EndpointMiddleware,
    client::{VaultClient, VaultClientSettings},
    error::ClientError,
};

use super::{Bao, Fault, Tenure, Token};

/// A vaultrs client for one token on the node that is active now. Not to be kept: the next call may need another node.
pub struct Control {
    client: VaultClient,
    /// The node that it is for.
    pub tenure: Arc<Tenure>,
}

impl Bao {
    /// A client for control calls; without a token for those that need none, such as a login.
    ///
    /// # Errors
    /// No active node was found.
    pub async fn control(&self, token: Option<&Token>) -> Result<Control, Fault> {
        let tenure = self.active().await?;
        Ok(Control { client: self.vault_client(token, &tenure)?, tenure })
    }

    /// Runs one control call on the active node. A node that surely did nothing (a standby, one that is away) is left for
    /// the one that is active, once; what may have happened is not tried again.
    ///
    /// # Errors
    /// What the last attempt came to.
    pub async fn run<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        token: Option<&Token>,
        call: impl Fn(Arc<Control>) -> F,
    ) -> Result<T, Fault> {
        let mut again = true;
        loop {
            self.rate().turn().await;
            let control = Arc::new(self.control(token).await?);
            let done = call(control.clone()).await;
            let Err(error) = done else { return done.map_err(|error| control.fault(error)) };
            let fault = control.fault(error);
            self.note(&control.tenure, &fault);
            if !again || fault.ambiguous() || !fault.asks_for_another_node() {
                return Err(fault);
            }
            again = false;
        }
    }

    fn vault_client(&self, token: Option<&Token>, tenure: &Tenure) -> Result<VaultClient, Fault> {
        let settings = self.settings();
        let base = tenure.address.to_string();
        let address = Url::parse(&base).map_err(|_| Fault::Unreachable(format!("{base} is no URL")))?;
        let middle = EndpointMiddleware {
            token: token.map_or_else(String::new, |token| token.expose().to_owned()),
            version: "v1".to_owned(),
            wrap: None,
            namespace: settings.namespace.clone(),
        };
        // For information only: `http` and `middle` do the work. So the token is not repeated here.
        let settings = VaultClientSettings {
            address,
            ca_certs: Vec::new(),
            identity: None,
            timeout: Some(settings.call_timeout),
            token: String::new(),
            verify: true,
            version: 1,
            wrapping: false,
            namespace: settings.namespace.clone(),
            proxy: None,
        };
        Ok(VaultClient { http: Rest::new(&base, self.http().clone()), middle, settings })
    }
}

impl Control {
    /// What a failure of one of its calls means.
    #[must_use]
    pub fn fault(&self, error: ClientError) -> Fault {
        Fault::of_control(&self.tenure.address.to_string(), error)
    }
}

impl Deref for Control {
    type Target = VaultClient;

    fn deref(&self) -> &VaultClient {
        &self.client
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("tenure", &self.tenure).finish_non_exhaustive()
    }
}
