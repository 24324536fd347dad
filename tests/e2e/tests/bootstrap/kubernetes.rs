//! The login of a Pod: OpenBao's own Kubernetes auth method, with a stand-in for the API server that it asks about
//! ServiceAccount tokens (TokenReview).

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tofustate::openbao::{Credential, Login, Mount, ServiceAccount, TokenSource as _, setup::check_own};
use tokio::sync::watch;

use crate::world::{POLICY, ROLE, World, off, run, said, state, until};

const AUDIENCE: &str = "openbao";

/// What stands in for the API server: it takes the tokens that it knows.
#[derive(Clone)]
struct Cluster {
    port: u16,
    /// Token and user.
    known: Arc<Mutex<Vec<(String, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cluster = Self { port, known: Arc::default(), asked: Arc::default() };
        let served = cluster.clone();
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let served = served.clone();
                thread::spawn(move || served.serve(stream.unwrap()));
            }
        });
        cluster
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut writer = stream;
        loop {
            let mut length = 0;
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            while !line.trim().is_empty() {
                line.clear();
                reader.read_line(&mut line).ok()?;
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().ok()?;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let answer = self.review(&serde_json::from_slice(&body).ok()?).to_string();
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            writer.write_all((head + &answer).as_bytes()).ok()?;
        }
    }

    fn review(&self, asked: &Value) -> Value {
        let token = asked["spec"]["token"].as_str().unwrap_or_default();
        self.asked.lock().unwrap().push(token.to_owned());
        let known = self.known.lock().unwrap();
        let status = match known.iter().find(|(known, _)| known == token) {
            Some((_, user)) => json!({
                "authenticated": true,
                "audiences": asked["spec"]["audiences"],
                "user": {"username": user, "uid": "uid-1"},
            }),
            None => json!({"authenticated": false}),
        };
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
    }

    /// A token of a ServiceAccount, as Kubernetes projects them.
    fn token(&self, namespace: &str, name: &str, audience: &str) -> String {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "aud": [audience], "iat": now, "nbf": now, "exp": now + 3600, "jti": rand_text(), "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": "uid-1"}},
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signature = URL_SAFE_NO_PAD.encode([7; 64]);
        let token = format!("{}.{}.{signature}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(&claims));
        self.known.lock().unwrap().push((token.clone(), format!("system:serviceaccount:{namespace}:{name}")));
        token
    }
}

fn rand_text() -> String {
    jiff::Timestamp::now().as_nanosecond().to_string()
}

/// A server with the login set up, and a ServiceAccount's token in a file.
struct Pod {
    world: World,
    cluster: Cluster,
    file: PathBuf,
    args: Vec<String>,
}

impl Pod {
    fn start(test: &str) -> Option<Self> {
        let world = World::start(test, None)?;
        let cluster = Cluster::start();
        // It is asked without TLS; OpenBao wants a CA all the same.
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = world.folder.path().join("ca.pem");
        fs::write(&ca, rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()).unwrap();
        let args = vec![
            "--kubernetes-auth".to_owned(),
            format!("--kubernetes-host=http://127.0.0.1:{}", cluster.port),
            format!("--kubernetes-ca-file={}", ca.display()),
        ];
        let file = world.folder.path().join("serviceaccount-token");
        let pod = Self { world, cluster, file, args };
        let done = pod.bootstrap(&[]);
        assert!(done.status.success(), "{}", said(&done));
        assert!(!said(&done).contains("no way in yet"), "{}", said(&done));
        pod.project("tofustate", "tofustate", AUDIENCE);
        Some(pod)
    }

    fn bootstrap(&self, args: &[&str]) -> std::process::Output {
        let all: Vec<_> = self.args.iter().map(String::as_str).chain(args.iter().copied()).collect();
        self.world.bootstrap(&all)
    }

    /// Puts another token into the file, as the kubelet does.
    fn project(&self, namespace: &str, name: &str, audience: &str) -> String {
        let token = self.cluster.token(namespace, name, audience);
        fs::write(&self.file, &token).unwrap();
        token
    }

    fn login(&self) -> Login {
        let account = ServiceAccount {
            mount: Mount::parse("kubernetes").unwrap(),
            role: ROLE.to_owned(),
            token_file: self.file.clone(),
            audience: Some(AUDIENCE.to_owned()),
        };
        Login::new(self.world.connect(), Credential::Kubernetes(account)).unwrap()
    }
}

#[test]
fn a_pod_logs_in_and_again_with_the_token_that_it_has_by_then() {
    let Some(pod) = Pod::start("a_pod_logs_in_and_again_with_the_token_that_it_has_by_then") else { return };
    let world = &pod.world;
    run(async {
        let login = pod.login();
        assert_eq!(login.token(), None, "nothing was asked yet");
        let many: Vec<_> = (0..20)
            .map(|_| {
                let login = login.clone();
                tokio::spawn(async move { login.obtain().await.unwrap() })
            })
            .collect();
        for one in many {
            one.await.unwrap();
        }
        let first = off(|| world.tokens_of(POLICY));
        assert_eq!(first.len(), 1, "one login for all of them");
        let found = off(|| world.look_up(&first[0])).unwrap();
        assert_eq!(found["creation_ttl"], 3600, "{found}");
        let report = check_own(&world.connect(), &login, &world.setup()).await.unwrap();
        assert!(report.is_good() && report.notes.is_empty(), "{report}");
        assert!(off(|| pod.bootstrap(&["--check"])).status.success());

        // Kubernetes replaces the token; OpenBao's is lost: the next login is with the new one.
        let bao = world.connect();
        let stores = world.stores_with(&bao, std::sync::Arc::new(login.clone()));
        state(&stores, "team/one").get("team/one").await.unwrap();
        let rotated = pod.project("tofustate", "tofustate", AUDIENCE);
        off(|| world.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": first[0]})));
        state(&stores, "team/two").get("team/two").await.unwrap();
        assert_eq!(pod.cluster.asked.lock().unwrap().last(), Some(&rotated));
        let second = off(|| world.tokens_of(POLICY));
        assert_eq!(second.len(), 1);
        assert_ne!(second, first);
        // States' tokens are no children of it.
        login.end().await;
        assert_eq!(off(|| world.tokens_of(POLICY)), Vec::<String>::new(), "the login's token was ended");
        state(&stores, "team/one").get("team/one").await.unwrap();
    });
}

#[test]
fn a_login_that_is_refused_says_what_is_wrong() {
    let Some(pod) = Pod::start("a_login_that_is_refused_says_what_is_wrong") else { return };
    let trouble = || {
        let login = pod.login();
        run(async {
            let fault = login.obtain().await.unwrap_err().to_string();
            let trouble = login.trouble().await.unwrap();
            assert!(fault.contains(&trouble), "{fault}; {trouble}");
            trouble
        })
    };
    let mut tokens = vec![pod.project("tofustate", "other", AUDIENCE)];
    assert!(trouble().contains("service account name not authorized"));
    tokens.push(pod.project("other", "tofustate", AUDIENCE));
    assert!(trouble().contains("namespace not authorized"));
    // Kubernetes does not know it.
    pod.cluster.known.lock().unwrap().clear();
    let before = pod.cluster.asked.lock().unwrap().len();
    fs::write(&pod.file, {
        let token = pod.cluster.token("tofustate", "tofustate", AUDIENCE);
        pod.cluster.known.lock().unwrap().clear();
        token
    })
    .unwrap();
    assert!(trouble().contains("was refused: are the ServiceAccount"));
    assert!(pod.cluster.asked.lock().unwrap().len() > before);
    // For others: OpenBao is not shown it.
    let before = pod.cluster.asked.lock().unwrap().len();
    pod.project("tofustate", "tofustate", "https://kubernetes.default.svc");
    assert!(trouble().contains("is for the audience \"https://kubernetes.default.svc\" and not \"openbao\""));
    assert_eq!(pod.cluster.asked.lock().unwrap().len(), before);
    fs::remove_file(&pod.file).unwrap();
    assert!(trouble().contains("cannot be read"));

    pod.project("tofustate", "tofustate", AUDIENCE);
    let api = pod.world.api();
    // A mount that is not there is refused like a token that is not known.
    for (path, says) in [
        (format!("auth/kubernetes/role/{ROLE}"), "has no role tofustate-prod: run tofustate bootstrap"),
        ("sys/auth/kubernetes".to_owned(), "tofustate bootstrap --check says whether this login is set up"),
    ] {
        api.must("DELETE", &path, &Value::Null);
        let refused = trouble();
        assert!(refused.contains(says), "{refused}");
        let check = said(&pod.bootstrap(&["--check"]));
        assert!(check.contains(&format!("the role {ROLE} of the login at auth/kubernetes is missing")), "{check}");
        let mended = pod.bootstrap(&[]);
        assert!(mended.status.success(), "{}", said(&mended));
        run(async { pod.login().obtain().await.unwrap() });
    }
    // Whoever else logs in there: without a host of ours the cluster stays what it is.
    let kept = api.must("GET", "auth/kubernetes/config", &Value::Null);
    let done = pod.world.bootstrap(&["--kubernetes-auth"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(api.must("GET", "auth/kubernetes/config", &Value::Null), kept);
}

#[test]
fn a_login_is_renewed_and_made_anew_before_its_last_end() {
    let Some(pod) = Pod::start("a_login_is_renewed_and_made_anew_before_its_last_end") else { return };
    let world = &pod.world;
    let role = json!({"token_ttl": "12s", "token_max_ttl": "20s"});
    world.api().must("POST", &format!("auth/kubernetes/role/{ROLE}"), &role);
    run(async {
        let login = pod.login();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn({
            let login = login.clone();
            async move { login.run(stopped).await }
        });
        let bao = world.connect();
        let stores = world.stores_with(&bao, std::sync::Arc::new(login.clone()));
        let began = std::time::Instant::now();
        let mut seen = 0;
        until("it lived through three logins", || {
            seen += 1;
            let path = format!("team/state-{seen}");
            let (stores, logins) = (&stores, &pod.cluster.asked);
            async move {
                // Each needs the operator's token anew.
                state(stores, &path).get(&path).await.unwrap();
                let logins = logins.lock().unwrap().len();
                if logins >= 3 { Ok(()) } else { Err(format!("{logins} logins")) }
            }
        })
        .await;
        println!("three logins in {:?}, {seen} states", began.elapsed());
        assert!(began.elapsed().as_secs() > 20, "logins were renewed in between");
        assert_eq!(login.trouble().await, None);
        stop.send_replace(true);
        running.await.unwrap();
        login.end().await;
        assert_eq!(login.token(), None);
    });
}
