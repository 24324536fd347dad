//! The annotations of an Ingress, by its class.

use crate::{
    rendered::cluster,
    world::{one, values},
};

#[test]
fn each_known_ingress_class_is_told_what_it_needs_and_no_other() {
    let Some(world) = cluster("each_known_ingress_class_is_told_what_it_needs_and_no_other") else { return };
    const NGINX: &str = "nginx.ingress.kubernetes.io/";
    const F5: &str = "nginx.org/";
    const HAPROXY: &str = "haproxy.org/";
    const HAPROXY_INGRESS: &str = "haproxy-ingress.github.io/";
    for (class, more, prefixes) in [
        ("nginx", "", &[NGINX, F5][..]),
        ("nginx-internal", "", &[NGINX, F5]),
        ("haproxy", "", &[HAPROXY, HAPROXY_INGRESS]),
        ("traefik", "", &[]),
        ("cilium", "", &[]),
        ("edge", "ingress.controller=nginx", &[NGINX]),
        ("nginx", "ingress.controller=f5-nginx", &[F5]),
        ("haproxy", "ingress.controller=haproxy", &[HAPROXY]),
        ("haproxy", "ingress.controller=haproxy-ingress", &[HAPROXY_INGRESS]),
        // That of the cluster's default class, where somebody says whose it is.
        ("", "ingress.controller=none", &[]),
    ] {
        let class_name = format!("ingress.enabled=true,ingress.host=states.example.org,ingress.className={class}");
        let file = world.rendered("ingress", &["--values", &values("secret"), "--set", &class_name, "--set", more]);
        let objects = world.would_apply(&file);
        let annotations = &one(&objects, "Ingress", "tofustate")["metadata"]["annotations"];
        let names = annotations.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let whose = |name: &String| prefixes.iter().any(|prefix| name.starts_with(prefix));
        assert!(names.iter().all(whose), "{class} {more}: {annotations}");
        for prefix in prefixes {
            assert!(names.iter().any(|name| name.starts_with(prefix)), "{class} {more}: {annotations}");
        }
        for (name, value) in [
            ("nginx.org/client-max-body-size", "0"),
            ("nginx.org/proxy-read-timeout", "60s"),
            ("nginx.org/ssl-services", "tofustate"),
            ("haproxy-ingress.github.io/backend-protocol", "h1-ssl"),
            ("haproxy-ingress.github.io/timeout-server", "60s"),
        ] {
            assert!(!whose(&name.to_owned()) || annotations[name] == value, "{name}: {annotations}");
        }
        let service = &one(&objects, "Service", "tofustate")["metadata"]["annotations"];
        assert_eq!(service["traefik.ingress.kubernetes.io/service.serversscheme"] == "https", class == "traefik");
    }
}
