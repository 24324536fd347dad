//! Values that are wrong, and those that are right.

use tofustate_e2e::chart::{CHART, LEAST};

use crate::world::{SETS, helm, values};

#[test]
fn helm_lints_the_chart_with_each_set_of_values() {
    let Some((helm, _home)) = helm("helm_lints_the_chart_with_each_set_of_values") else { return };
    for set in SETS {
        let said = helm.must(&["lint", "--strict", CHART, "--values", &values(set)]);
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed") && !said.contains("WARNING"), "{set}: {said}");
    }
}

#[test]
fn wrong_values_are_refused_with_what_to_do() {
    let Some((helm, _home)) = helm("wrong_values_are_refused_with_what_to_do") else { return };
    let refused = |args: &[&str]| helm.fails(&[&["template", "tofustate", CHART], args].concat());
    // What helm has to be told, all at once.
    let said = refused(&[]);
    for says in [
        "config.instance: name the installation as `tofustate bootstrap --instance` was told",
        "tls.certManager.enabled=true with tls.certManager.issuerRef.name, or tls.secretName",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    // By the schema: where, and what would be right.
    for (value, says) in [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("config.tenant=Open", "at '/config': additional properties 'tenant' not allowed"),
        ("replicas=three", "at '/replicas': got string, want integer"),
        ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
        ("config.tenancy=Nobody", "at '/config/tenancy': value must be one of 'Namespace', 'Annotation', 'Open'"),
        ("config.lockMethods=patch", "at '/config/lockMethods': value must be one of 'standard', 'post'"),
        ("config.auth.method=password", "at '/config/auth/method': value must be one of 'kubernetes', 'token'"),
        ("config.storeWait=3", "at '/config/storeWait': minimum: got 3, want 5"),
        ("config.resync=5", "at '/config/resync': minimum: got 5, want 10"),
        ("service.port=0", "at '/service/port': minimum: got 0, want 1"),
        ("service.type=Other", "at '/service/type': value must be one of"),
        ("ingress.controller=iis", "at '/ingress/controller': value must be one of"),
        // Another tag would be put after it.
        (
            "image.repository=ghcr.io/me/tofustate:1.0",
            "at '/image/repository': 'ghcr.io/me/tofustate:1.0' does not match",
        ),
        ("image.pullPolicy=Sometimes", "at '/image/pullPolicy': value must be one of"),
        ("watchNamespaces=team-a", "at '/watchNamespaces': got string, want array"),
        ("extraEnv[0].value=x", "at '/extraEnv/0': missing property 'name'"),
        // A stop would not wait for such a request.
        ("config.storeWait=76", "at '/config/storeWait': maximum: got 76, want 75"),
        // Nobody is to get a token for the API server by it.
        ("config.auth.kubernetes.audience=null", "at '/config/auth/kubernetes': missing property 'audience'"),
        ("config.requestRate=5000000000", "at '/config/requestRate': maximum: got"),
        ("updateStrategy.type=Blue", "at '/updateStrategy/type': value must be one of 'RollingUpdate', 'Recreate'"),
        ("podAnnotations.scrape=true", "at '/podAnnotations/scrape': got boolean, want string"),
        ("service.annotations.port=80", "at '/service/annotations/port': got number, want string"),
        ("podDisruptionBudget.maxUnavailable=half", "at '/podDisruptionBudget/maxUnavailable': 'half' does not match"),
        ("podDisruptionBudget.maxUnavailable=-1", "at '/podDisruptionBudget/maxUnavailable': minimum: got -1, want 0"),
        ("podDisruptionBudget.maxUnavailable=101%", "at '/podDisruptionBudget/maxUnavailable': '101%' does not match"),
        ("fullnameOverride=1st", "at '/fullnameOverride': '1st' does not match"),
        // It would be cut.
        ("fullnameOverride=a12345678901234567890123456789012345678-1", "at '/fullnameOverride': "),
        ("serviceAccount.name=My_Account", "at '/serviceAccount/name': 'My_Account' does not match"),
        ("tls.caKey=a/b", "at '/tls/caKey': "),
        ("httpRoute.hostnames={https://states}", "at '/httpRoute/hostnames/0': 'https://states' does not match"),
    ] {
        let said = refused(&[LEAST, &["--set", value]].concat());
        assert!(said.contains(says), "{value}: {said}");
    }
    // By the chart: what a schema has no words for.
    for (values, says) in [
        ("config.instance=A_b", "\"A_b\" is no name: small letters, digits and hyphens"),
        ("config.baoAddr=openbao:8200", "\"openbao:8200\" is no address of OpenBao: write https://host:8200"),
        ("config.baoAddr=http://openbao:8200/v1", "nothing after the port"),
        ("config.baoAddr=http://openbao:82000", "\"http://openbao:82000\" is no address of OpenBao"),
        // Also where the port is needed before anything else is looked at.
        (
            "networkPolicy.enabled=true,networkPolicy.egress.enabled=true,config.baoAddr=http://openbao:bao",
            "\"http://openbao:bao\" is no address of OpenBao",
        ),
        ("config.otelEndpoint=http://collector:0", "config.otelEndpoint: \"http://collector:0\" is no URL"),
        (
            "tls.plainHttp=false,tls.secretName=x,config.internalUrl=http://states.example.org",
            "config.internalUrl: by http:// runs would send their tokens in the clear",
        ),
        (
            "config.auth.method=token,config.auth.token.secretName=x,rbac.authDelegator=true",
            "rbac.authDelegator: lets OpenBao review the token of a login",
        ),
        ("rbac.authDelegator=true", "set config.auth.kubernetes.audience to the API server's own, such as"),
        (
            "rbac.authDelegator=true,rbac.create=false,config.auth.kubernetes.audience=x",
            "rbac.authDelegator: is one of the rights that rbac.create=false leaves to somebody else",
        ),
        (
            "config.auth.method=token,config.auth.token.secretName=x,config.auth.kubernetes.role=mine",
            "config.auth.kubernetes: is about the login by the ServiceAccount",
        ),
        ("config.auth.token.secretName=x", "config.auth.token: is used with config.auth.method=token only"),
        (
            "serviceAccount.create=false,serviceAccount.name=x,serviceAccount.annotations.a=b",
            "serviceAccount.annotations: the chart does not change a ServiceAccount that it did not make",
        ),
        ("extraArgs={--tenancy=Open}", "extraArgs: --tenancy is the chart's own: set config.tenancy"),
        (
            "extraArgs={--watch-namespaces,team-a}",
            "extraArgs: --watch-namespaces is the chart's own: set watchNamespaces",
        ),
        ("extraArgs={--request-rate=5}", "extraArgs: --request-rate is the chart's own: set config.requestRate"),
        ("extraArgs={--lease=20,--lease=30}", "extraArgs: --lease is there twice"),
        ("config.externalUrl=states.example.org", "config.externalUrl: \"states.example.org\" is no URL"),
        ("watchNamespaces={Team}", "watchNamespaces: \"Team\" is no name of a namespace"),
        ("image.digest=abc", "image.digest: \"abc\" is no digest"),
        ("tls.secretName=x", "tls.plainHttp and a certificate are both asked for: choose one"),
        ("tls.plainHttp=false,tls.certManager.enabled=true", "tls.certManager.issuerRef.name: say which issuer"),
        ("config.auth.method=token", "config.auth.token.secretName: say which Secret has the token for OpenBao"),
        ("externalSecret.enabled=true", "its token is used with config.auth.method=token only"),
        ("externalSecret.enabled=true", "secretStoreRef.name"),
        ("config.baoCa.secret=a,config.baoCa.configMap=b", "which one has the CA?"),
        ("ingress.enabled=true", "ingress.host: say at which host"),
        ("ingress.enabled=true,ingress.host=https://x/y", "\"https://x/y\" is no host"),
        ("httpRoute.enabled=true", "httpRoute.parentRefs: say which Gateway"),
        ("config.requestRate=5", "both or none"),
        ("serviceAccount.create=false", "serviceAccount.name: say which ServiceAccount"),
        (
            "config.linger=30",
            "terminationGracePeriodSeconds: a stop takes up to 125 s, which are config.linger (30), 75",
        ),
        ("terminationGracePeriodSeconds=104", "to say goodbye: 104 would kill it before"),
        (
            "tls.plainHttp=false,tls.certManager.enabled=true,tls.certManager.issuerRef.name=x,tls.secretName=mine",
            "write its certificate into mine, the Secret that tls.secretName says is yours: choose one",
        ),
        (
            "image.tag=1.0,image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "with image.tag set image.digest=\"\"",
        ),
        (
            "ingress.enabled=true,ingress.host=a.example.org",
            "ingress.className: without it the cluster's default class",
        ),
        ("podLabels.app\\.kubernetes\\.io/name=x", "podLabels: app.kubernetes.io/name is the chart's own"),
        (
            "metrics.serviceMonitor.labels.app\\.kubernetes\\.io/name=x",
            "metrics.serviceMonitor.labels: app.kubernetes.io/name is the chart's own",
        ),
        ("extraEnv[0].name=BAO_ADDR", "extraEnv: BAO_ADDR is the chart's own: set config.baoAddr"),
        ("extraEnv[0].name=TOFUSTATE_WATCH_NAMESPACES", "is the chart's own: set watchNamespaces"),
        (
            "extraEnv[0].name=BAO_TOKEN",
            "set config.auth.method=token, and config.auth.token.secretName to a Secret with the token",
        ),
        ("extraEnv[0].name=A,extraEnv[1].name=A", "extraEnv: A is set already"),
    ] {
        let said = refused(&[LEAST, &["--set", values]].concat());
        assert!(said.contains(says), "{values}: {said}");
    }
    let said = refused(&[LEAST, &["--kube-version", "1.31.9"]].concat());
    assert!(
        said.contains("chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.31.9"),
        "{said}"
    );
}

/// Helm has the numbers of a file as floating-point ones, and writes large ones with an exponent.
#[test]
fn a_large_number_of_a_file_is_written_as_one() {
    let Some((helm, home)) = helm("a_large_number_of_a_file_is_written_as_one") else { return };
    let file = home.path().join("values.yaml");
    std::fs::write(&file, "config: {requestRate: 1000000, requestBurst: 2000000}\n").unwrap();
    let said = helm.must(&[&["template", "tofustate", CHART, "-f", file.to_str().unwrap()], LEAST].concat());
    assert!(said.contains("- --request-rate=1000000\n") && said.contains("- --request-burst=2000000\n"), "{said}");
}

#[test]
fn an_image_of_ones_own_is_taken_from_where_it_is() {
    let Some((helm, _home)) = helm("an_image_of_ones_own_is_taken_from_where_it_is") else { return };
    for repository in ["tofustate", "localhost:5000/tofustate", "registry.example.org:443/team_a/images/tofustate"] {
        let image = format!("image.tag=1.0-ours,image.repository={repository}");
        let said = helm.must(&[&["template", "tofustate", CHART, "--set", &image], LEAST].concat());
        assert!(said.contains(&format!("image: \"{repository}:1.0-ours\"\n")), "{repository}: {said}");
    }
}

/// The longest stop that is allowed is one that the grace is enough for.
#[test]
fn a_grace_that_is_enough_is_taken() {
    let Some((helm, _home)) = helm("a_grace_that_is_enough_is_taken") else { return };
    for values in ["terminationGracePeriodSeconds=105", "config.linger=300,terminationGracePeriodSeconds=395"] {
        helm.must(&[&["template", "tofustate", CHART, "--set", values], LEAST].concat());
    }
}
