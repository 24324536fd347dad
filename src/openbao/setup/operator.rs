//! The file with the operator's own token, for an operator that has no login: what is in it, and how one gets there.

use std::{io, path::Path};

use serde_json::json;

use super::{
    PERIOD, Setup,
    admin::{Admin, SetupError, doing},
};
use crate::{
    openbao::{
        Bao, Fault, Token, read_token,
        request::Request,
        tokens::{life, minted},
    },
    private,
};

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
