//! Answers as they were recorded, of OpenBao 2.6.2 and of the stand-in (Vault 1.14.0), and of what may stand before them.

use super::*;
use crate::store::KvError;

const FROM: &str = "http://127.0.0.1:8200";

fn fault(status: u16, body: &str) -> Fault {
    Fault::of(FROM, status, Some(Duration::from_secs(3)), body.as_bytes())
}

/// Status, body, the kind of fault, the kind of the engine's error.
const ANSWERS: &[(u16, &str, &str, &str)] = &[
    (
        400,
        r#"{"errors":["check-and-set parameter did not match the current version"]}"#,
        "cas_mismatch",
        "cas_mismatch",
    ),
    (400, r#"{"errors":["check-and-set parameter required for this call"]}"#, "refused", "other"),
    (400, r#"{"errors":["no data provided"]}"#, "refused", "other"),
    (
        400,
        r#"{"errors":["refused JSON input due to high complexity: exceeded maximum number of strings"]}"#,
        "refused",
        "other",
    ),
    (
        400,
        r#"{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service shortly."]}"#,
        "not_ready",
        "unavailable",
    ),
    (
        400,
        r#"{"errors":["namespace with that name exists and is currently being created or deleted"]}"#,
        "not_ready",
        "unavailable",
    ),
    // A standby, of the same mount.
    (
        400,
        r#"{"errors":["Waiting for the primary to upgrade from non-versioned to versioned data. This backend will be unavailable for a brief period and will resume service when the primary is finished."]}"#,
        "standby",
        "unavailable",
    ),
    // Tokens by their accessor, and the token role: OpenBao, and where they differ Vault.
    (400, r#"{"errors":["1 error occurred:\n\t* invalid accessor\n\n"]}"#, "no_such_token", "other"),
    (403, r#"{"errors":["1 error occurred:\n\t* invalid accessor\n\n"]}"#, "no_such_token", "other"),
    (
        500,
        r#"{"errors":["1 error occurred:\n\t* cannot lookup token in different namespace\n\n"]}"#,
        "no_such_token",
        "other",
    ),
    (400, r#"{"errors":["unknown role tofustate-prod"]}"#, "role_gone", "other"),
    (
        500,
        r#"{"errors":["1 error occurred:\n\t* failed to renew entry: original token role \"tofustate-prod\" could not be found, not renewing\n\n"]}"#,
        "role_gone",
        "other",
    ),
    (403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#, "denied", "denied"),
    (403, r#"{"errors":["permission denied"]}"#, "invalid_token", "denied"),
    (
        403,
        r#"{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}"#,
        "invalid_token",
        "denied",
    ),
    (404, r#"{"errors":[]}"#, "not_found", "other"),
    (404, r#"{"errors":["no handler for route \"states/data/x\". route entry not found."]}"#, "gone", "gone"),
    (404, r#"{"errors":["namespace not found"]}"#, "gone", "gone"),
    (
        404,
        r#"{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":["Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv list' for this operation."],"auth":null}"#,
        "refused",
        "other",
    ),
    (
        404,
        r#"{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":null,"metadata":{"created_time":"2026-11-21T11:10:06.8709001Z","custom_metadata":null,"deletion_time":"2026-11-21T11:10:06.892911584Z","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#,
        "deleted",
        "other",
    ),
    (
        404,
        r#"{"request_id":"x","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":null,"metadata":{"created_time":"2026-11-21T11:10:06.925805751Z","custom_metadata":null,"deletion_time":"","destroyed":true,"version":1}},"wrap_info":null,"warnings":null,"auth":null}"#,
        "deleted",
        "other",
    ),
    (404, "404 page not found\n", "strange", "unavailable"),
    (404, "", "strange", "unavailable"),
    (405, r#"{"errors":[]}"#, "refused", "other"),
    (413, r#"{"errors":["http: request body too large"]}"#, "too_large", "too_large"),
    (413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "too_large", "too_large"),
    (429, r#"{"errors":["request path \"states/data/a/b\": rate limit quota exceeded"]}"#, "limited", "unavailable"),
    (429, "slow down", "limited", "unavailable"),
    (
        500,
        r#"{"errors":["1 error occurred:\n\t* put failed due to value being too large; got 156 bytes, max 1048576 bytes\n\n"]}"#,
        "too_large",
        "too_large",
    ),
    (
        500,
        r#"{"errors":["1 error occurred:\n\t* put failed due to value being too large; got 1200228 bytes, max: 1048576 bytes\n\n"]}"#,
        "too_large",
        "too_large",
    ),
    (500, r#"{"errors":["local node not active but active cluster node not found"]}"#, "standby", "unavailable"),
    (500, r#"{"errors":["1 error occurred:\n\t* leadership lost while committing log\n\n"]}"#, "failed", "unavailable"),
    (502, "<html>bad gateway</html>", "failed", "unavailable"),
    (503, r#"{"errors":["Vault is sealed"]}"#, "sealed", "unavailable"),
    (503, r#"{"errors":["node is not active"]}"#, "standby", "unavailable"),
    (503, r#"{"errors":["no active Vault instance found"]}"#, "standby", "unavailable"),
    (503, "upstream connect error", "failed", "unavailable"),
    (504, "", "failed", "unavailable"),
    // A standby that may not pass the request on: it names the active node in a header that nobody follows.
    (307, "", "standby", "unavailable"),
    (307, "<a href=\"/v1/states/data/x\">Temporary Redirect</a>.\n\n", "strange", "unavailable"),
    (301, "<a href=\"https://elsewhere\">Moved</a>", "strange", "unavailable"),
    // sys/health of standbys.
    (472, "", "standby", "unavailable"),
    (473, "", "standby", "unavailable"),
    (200, "<html>It works!</html>", "strange", "unavailable"),
    (401, "<html>Sign in</html>", "strange", "unavailable"),
    (403, "<html>Blocked</html>", "strange", "unavailable"),
    (400, PLAIN[0], "strange", "unavailable"),
    (400, PLAIN[1], "strange", "unavailable"),
];

/// Of plain HTTP to a port for HTTPS: OpenBao, and nginx before it.
const PLAIN: [&str; 2] = [
    "Client sent an HTTP request to an HTTPS server.\n",
    "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n</html>\r\n",
];

#[test]
fn plain_http_where_https_is_spoken_is_said() {
    for body in PLAIN {
        assert!(fault(400, body).to_string().contains("write https://"), "{body}");
    }
    assert!(!fault(400, "<html>Bad Request</html>").to_string().contains("https://"));
}

#[test]
fn each_recorded_answer_is_what_it_means() {
    for (status, body, kind, error) in ANSWERS {
        let fault = fault(*status, body);
        assert_eq!(fault.kind(), *kind, "{status} {body}: {fault:?}");
        assert_eq!(KvError::from(fault).kind(), *error, "{status} {body}");
    }
}

/// What nobody can be sure of is never taken for "not done", and no absence is made of what is not one.
#[test]
fn only_a_plain_404_says_that_there_is_nothing() {
    for (status, body, kind, _) in ANSWERS {
        assert_eq!(*kind == "not_found", (*status, *body) == (404, r#"{"errors":[]}"#), "{status} {body}");
        if *status >= 500 && !["too_large", "standby", "sealed", "no_such_token", "role_gone"].contains(kind) {
            assert!(fault(*status, body).ambiguous(), "{status} {body}");
        }
    }
}

#[test]
fn the_wait_and_the_limit_are_read() {
    let limited = KvError::from(fault(429, r#"{"errors":["rate limit quota exceeded"]}"#));
    let KvError::Unavailable { retry_after: Some(wait), .. } = limited else { panic!("{limited:?}") };
    assert_eq!(wait, Duration::from_secs(3));
    for (text, expected) in [
        ("put failed due to value being too large; got 156 bytes, max 1048576 bytes", Some(1_048_576)),
        ("put failed due to value being too large; got 1200228 bytes, max: 262144 bytes", Some(262_144)),
        ("put failed due to value being too large", None),
        ("put failed due to value being too large; max", None),
    ] {
        let body = serde_json::json!({ "errors": [text] }).to_string();
        let Fault::TooLarge { limit, .. } = fault(500, &body) else { panic!("{text}") };
        assert_eq!(limit, expected, "{text}");
    }
}

#[test]
fn a_message_is_one_short_line() {
    let long = serde_json::json!({ "errors": ["1 error\n\t* ".repeat(400)] }).to_string();
    for status in [400, 403, 404, 429, 500, 503] {
        let message = fault(status, &long).to_string();
        assert!(message.chars().count() < 420 && !message.contains('\n'), "{status}: {message}");
    }
}

#[test]
fn the_errors_of_control_calls_mean_the_same_and_quote_no_answer() {
    use rustify::errors::ClientError as Rest;
    use vaultrs::error::ClientError as Vault;
    let api = Vault::APIError { code: 403, errors: vec!["1 error occurred:\n\t* permission denied\n\n".to_owned()] };
    assert_eq!(Fault::of_control(FROM, api).kind(), "denied");
    let empty = Vault::APIError { code: 404, errors: Vec::new() };
    assert_eq!(Fault::of_control(FROM, empty), Fault::NotFound);
    let response = |code, content: &str| {
        let source = Rest::ServerResponseError { code, content: Some(content.to_owned()) };
        Fault::of_control(FROM, Vault::RestClientError { source })
    };
    assert_eq!(response(307, "").kind(), "standby");
    assert_eq!(response(503, "<html>secret</html>").kind(), "failed");
    let source = serde_json::from_str::<u8>("secret").unwrap_err().into();
    let parse = Rest::ResponseParseError { source, content: Some("secret".to_owned()) };
    let parse = Fault::of_control(FROM, Vault::RestClientError { source: parse });
    assert_eq!(parse.kind(), "strange");
    assert!(!format!("{parse:?} {parse}").contains("secret"));
}
