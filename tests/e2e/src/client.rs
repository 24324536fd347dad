//! OpenTofu or Terraform, and a test for each of them.

use std::path::Path;

use crate::tools::{Found, OPENTOFU, TERRAFORM, Tool};

/// The client that a scenario runs with.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) found: Found,
}

impl Client {
    /// OpenTofu, if it is there; says SKIPPED otherwise.
    pub fn opentofu(test: &str) -> Option<Self> {
        Self::with(&OPENTOFU, test)
    }

    /// Terraform, if it is there; says SKIPPED otherwise.
    pub fn terraform(test: &str) -> Option<Self> {
        Self::with(&TERRAFORM, test)
    }

    fn with(tool: &Tool, test: &str) -> Option<Self> {
        Some(Self { found: tool.for_test(test)? })
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.found.program
    }

    /// Whether it is Terraform.
    pub fn is_terraform(&self) -> bool {
        self.found.name == TERRAFORM.name
    }
}

/// Two tests of a scenario `fn name(client: &Client)`: `name::opentofu` and `name::terraform`.
#[macro_export]
macro_rules! with_each_client {
    ($($scenario:ident),+ $(,)?) => {$(
        mod $scenario {
            use $crate::client::Client;

            #[test]
            fn opentofu() {
                if let Some(client) = Client::opentofu(concat!(module_path!(), "::opentofu")) {
                    super::$scenario(&client);
                }
            }

            #[test]
            fn terraform() {
                if let Some(client) = Client::terraform(concat!(module_path!(), "::terraform")) {
                    super::$scenario(&client);
                }
            }
        }
    )+};
}
