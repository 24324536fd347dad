//! The server behind a real nginx, and a real HAProxy: what works with its default settings, what does not, and the settings of
//! docs/reverse-proxies.md, read from there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

use tofustate_e2e::{
    ask::{Ask, lock_info, state},
    client::Client,
    docs,
    haproxy::Haproxy,
    nginx::{Nginx, Place},
    project::{APPLY, BACKEND, DESTROY, INIT, Project, VALUE},
    standalone::{Standalone, writer},
    with_each_client,
};

const PATH: &str = "team/app";
/// A plan that fails where it finds something to do.
const NO_CHANGES: &[&str] = &["plan", "-no-color", "-input=false", "-detailed-exitcode"];

with_each_client!(defaults, over_a_mebibyte, documented, redirected, haproxy, by_post);

/// A proxy with nothing but its address set.
fn bare(server: &Standalone) -> impl FnOnce(&Place) -> String {
    let to = server.address();
    move |place| format!("server {{ listen 127.0.0.1:{}; location / {{ proxy_pass http://{to}; }} }}", place.plain)
}

/// The block that users paste, at the test's places; it also listens for HTTP.
fn pasted(server: &Standalone) -> impl FnOnce(&Place) -> String {
    let to = server.address();
    move |place| {
        let block = block("nginx");
        let listen = format!("listen 127.0.0.1:{} ssl; listen 127.0.0.1:{};", place.tls, place.plain);
        let here = [
            ("listen 443 ssl;", listen),
            ("/etc/nginx/tls/state.crt", place.certificate.display().to_string()),
            ("/etc/nginx/tls/state.key", place.key.display().to_string()),
            ("127.0.0.1:8080", to),
        ];
        here.iter().fold(block, |block, (what, here)| {
            assert_eq!(block.matches(what).count(), 1, "{what} in the block of the docs");
            block.replace(what, here)
        })
    }
}

/// The block of the docs in this language.
fn block(language: &str) -> String {
    let all = docs::blocks(&docs::page("reverse-proxies.md"));
    all.into_iter().find(|block| block.language == language).expect("a block in the docs").text
}

/// The name of a scenario's test.
fn of(scenario: &str, client: &Client) -> String {
    format!("{scenario}::{}", if client.is_terraform() { "terraform" } else { "opentofu" })
}

/// A request with the token of [`PATH`].
fn ask(method: &str, url: &str) -> Ask {
    tofustate_e2e::ask::ask(method, url).token(&writer(PATH))
}

/// A project that points to a proxy.
fn project(client: &Client, url: &str, size: usize) -> Project {
    let mut project = Project::new(client, &[BACKEND, VALUE]);
    project.points_to(url, &writer(PATH));
    grow(&project, size);
    project
}

/// Makes the project's state about `size` bytes large: the value is in it three times.
fn grow(project: &Project, size: usize) {
    project.write("terraform.tfvars", format!("value = \"{}\"\n", "x".repeat(size / 3)));
}

/// Locks, writes and unlocks pass, and who holds a lock.
fn defaults(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let Some(nginx) = Nginx::start(&of("defaults", client), bare(&server)) else { return };
    let project = project(client, &nginx.url(PATH), 20_000);
    project.run(INIT);
    project.run(APPLY);
    assert_eq!(project.pull(), server.bytes(PATH).unwrap());
    assert_eq!(server.row(PATH)["holder"], serde_json::Value::Null, "unlocked again: {}", server.row(PATH));

    ask("LOCK", &nginx.url(PATH)).body(lock_info("held")).send().is(200);
    let said = project.fails(APPLY);
    assert!(said.contains("already locked: ID=held"), "{said}");
    ask("UNLOCK", &nginx.url(PATH)).body(lock_info("held")).send().is(200);
    // The reason for proxy_request_buffering.
    assert!(nginx.log().contains("a client request body is buffered to a temporary file"), "{}", nginx.log());
    project.run(DESTROY);
}

/// nginx refuses a state of more than 1 MiB. With the documented settings it can be stored after all.
fn over_a_mebibyte(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let Some(nginx) = Nginx::start(&of("over_a_mebibyte", client), bare(&server)) else { return };
    let mut project = project(client, &nginx.url(PATH), 20_000);
    project.run(INIT);
    project.run(APPLY);
    let before = server.bytes(PATH).unwrap();
    grow(&project, 1_200_000);
    let said = project.fails(APPLY);
    assert!(said.contains("Error saving state: HTTP error: 413"), "{said}");
    assert!(nginx.log().contains("client intended to send too large body"), "{}", nginx.log());
    assert_eq!(server.bytes(PATH).unwrap(), before);
    let answer = ask("POST", &nginx.url(PATH)).body(state(1, 1_200_000)).send();
    assert!(answer.is(413).text().contains("<title>413 Request Entity Too Large</title>"), "{}", answer.text());

    let nginx = Nginx::start(&of("over_a_mebibyte", client), pasted(&server)).expect("it was there");
    project.points_to(&nginx.url(PATH), &writer(PATH));
    project.run(&[INIT, &["-reconfigure"]].concat());
    project.run(&["state", "push", "errored.tfstate"]);
    assert!(server.bytes(PATH).unwrap().len() > 1 << 20);
    project.run(NO_CHANGES);
}

/// The documented settings, over HTTPS: a state of several megabytes, of which nothing is on nginx's disk.
fn documented(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let Some(nginx) = Nginx::start(&of("documented", client), pasted(&server)) else { return };
    let mut project = project(client, &nginx.tls_url(PATH), 4_000_000);
    project.env("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", &nginx.certificate());
    project.run(INIT);
    project.run(APPLY);
    let stored = server.bytes(PATH).unwrap();
    assert!(stored.len() > 4_000_000);
    assert_eq!(project.pull(), stored);
    ask("LOCK", &nginx.url(PATH)).body(lock_info("held")).send().is(200);
    let said = project.fails(APPLY);
    assert!(said.contains("already locked: ID=held"), "{said}");
    ask("UNLOCK", &nginx.url(PATH)).body(lock_info("held")).send().is(200);
    project.run(NO_CHANGES);
    project.run(DESTROY);
    assert_eq!(nginx.log(), "", "no body in a file, no fault");
}

/// The documented settings of HAProxy: several megabytes, and who holds a lock.
fn haproxy(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let admin = server.admin_url().rsplit_once(':').unwrap().1.to_owned();
    let proxy = Haproxy::start(&of("haproxy", client), |port, pem| {
        let listen = format!("bind 127.0.0.1:{port} ");
        docs::with(
            &block("haproxy"),
            &[
                ("bind :443 ", &listen),
                ("/etc/haproxy/state.pem", pem),
                ("127.0.0.1:8080", &server.address()),
                ("check port 9090", &format!("check inter 100ms port {admin}")),
            ],
        )
    });
    let Some(proxy) = proxy else { return };
    let mut project = project(client, &proxy.url(PATH), 4_000_000);
    project.env("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", proxy.certificate());
    project.run(INIT);
    project.run(APPLY);
    let stored = server.bytes(PATH).unwrap();
    assert!(stored.len() > 4_000_000);
    assert_eq!(project.pull(), stored);
    ask("LOCK", &server.url(PATH)).body(lock_info("held")).send().is(200);
    let said = project.fails(APPLY);
    assert!(said.contains("already locked: ID=held"), "{said}\n{}", proxy.said());
    assert!(!proxy.said().contains("is DOWN"), "{}", proxy.said());
    ask("UNLOCK", &server.url(PATH)).body(lock_info("held")).send().is(200);
    project.run(NO_CHANGES);
    project.run(DESTROY);
}

/// The documented block for proxies that know no LOCK, behind an nginx that knows none.
fn by_post(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let to = server.address();
    let strict = |place: &Place| {
        format!(
            "server {{ listen 127.0.0.1:{}; location / {{ limit_except GET POST DELETE {{ deny all; }} proxy_pass http://{to}; }} }}",
            place.plain
        )
    };
    let Some(nginx) = Nginx::start(&of("by_post", client), strict) else { return };
    ask("LOCK", &nginx.url(PATH)).body(lock_info("never")).send().is(403);
    let backend = docs::with(&block("hcl"), &[("https://state.example.com/team/app", &nginx.url(PATH))]);
    let mut project = Project::new(client, &[&backend, VALUE]);
    project.env("TF_HTTP_USERNAME", "tofu");
    project.env("TF_HTTP_PASSWORD", &writer(PATH));
    project.run(INIT);
    project.run(APPLY);
    assert_eq!(project.pull(), server.bytes(PATH).unwrap());
    ask("LOCK", &server.url(PATH)).body(lock_info("held")).send().is(200);
    let said = project.fails(APPLY);
    assert!(said.contains("already locked: ID=held"), "{said}");
}

/// A redirect makes a GET of LOCK, POST and UNLOCK: without a refusal, the apply would end well and store nothing.
fn redirected(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let to = server.address();
    let redirect =
        |place: &Place| format!("server {{ listen 127.0.0.1:{}; return 301 http://{to}$request_uri; }}", place.plain);
    let Some(nginx) = Nginx::start(&of("redirected", client), redirect) else { return };
    let mut project = project(client, &server.url(PATH), 100);
    project.run(INIT);
    project.run(APPLY);
    let before = server.bytes(PATH).unwrap();

    project.points_to(&nginx.url(PATH), &writer(PATH));
    project.run(&[INIT, &["-reconfigure"]].concat());
    grow(&project, 200);
    let said = project.fails(APPLY);
    assert!(said.contains("Unexpected HTTP response code 400"), "{said}");
    let said = project.fails(&[APPLY, &["-lock=false"]].concat());
    assert!(said.contains("HTTP error: 400") && project.path("errored.tfstate").exists(), "{said}");
    assert_eq!(server.bytes(PATH).unwrap(), before);
    let warned =
        server.log().iter().filter(|line| line["message"].to_string().contains("a redirect made a GET")).count();
    assert_eq!(warned, 2, "{:?}", server.log());
}

/// What a client gets to read is the server's own answer, also where that comes before the body is through.
#[test]
fn answers_pass_unchanged() {
    let server = Standalone::new();
    server.register(PATH, "");
    server.register("team/small", "  maxSize: 1Mi\n");
    let mut server = server;
    server.start();
    let Some(nginx) = Nginx::start("answers_pass_unchanged", pasted(&server)) else { return };
    let url = nginx.url(PATH);
    let large = state(2, 5_000_000);

    let answer = tofustate_e2e::ask::ask("GET", &url).send();
    answer.is_error(401, "no_credential");
    assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"tofustate\", charset=\"UTF-8\""));
    ask("GET", &url).send().is_error(404, "no_state");
    ask("LOCK", &url).body(lock_info("mine")).send().is(200);
    assert_eq!(ask("LOCK", &url).body(lock_info("other")).send().is(409).text(), lock_info("mine"));
    ask("POST", &format!("{url}?ID=mine")).body(&*large).send().is(200);
    let answer = ask("GET", &url).send();
    assert_eq!(answer.is(200).text(), large);
    assert_eq!(answer.header("content-length"), Some(large.len().to_string().as_str()));
    assert!(answer.header("content-md5").is_some());
    for _ in 0..20 {
        // These come while nginx still sends.
        ask("POST", &url).token("wrong").body(&*large).send().is_error(403, "forbidden");
        ask("POST", &url).body(&*large).header("content-md5", "x").send().is_error(400, "bad_body");
        let small = nginx.url("team/small");
        ask("POST", &small).token(&writer("team/small")).body(&*large).send().is_error(413, "too_large");
        assert_eq!(ask("POST", &format!("{url}?ID=other")).body(&*large).send().is(409).text(), lock_info("mine"));
    }
    for path in ["team//app", "team%2Fapp", "team/app/", "team/x/../app"] {
        ask("GET", &nginx.url(path)).send().is_error(400, "bad_path");
    }
    assert!(ask("PATCH", &url).send().is_error(405, "bad_method").header("allow").unwrap().contains("UNLOCK"));
    ask("UNLOCK", &url).body(lock_info("mine")).send().is(200);
    ask("DELETE", &url).send().is(200);
    ask("GET", &url).send().is_error(404, "no_state");
}
