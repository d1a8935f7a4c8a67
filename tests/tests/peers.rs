//! Ringfort beside its echo peers: a tiny run of `ringfort-loadtest peers` measures each of them and tells everything it promises.

use std::process::Command;

use ringfort_tests::programs;
use serde_json::Value;

const FIGURES: &[&str] = &[
    "us_per_client_tick",
    "cpu_percent",
    "down_bytes",
    "down_kb_per_s",
    "delivered",
    "network_ms_p50",
    "network_ms_p99",
    "packets_out",
    "packets_in",
    "pss_bytes_per_client",
    "rss_bytes_per_client",
    "generator_cpu_percent",
    "generator_late_ms_p99",
];

#[test]
fn a_small_run_of_peers_measures_every_echo_under_the_load_of_ringfort() {
    let subjects = ["ringfort", "tokio-quinn", "tokio-quinn-threads", "one-loop-rounded", "one-loop"];
    let mut command = Command::new(programs::loadtest());
    let output = command.args(["peers", "--quick", "--json", "-", "--subjects", &subjects.join(",")]).output();
    let output = output.expect("the load generator can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("its output is JSON");
    let number = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {report:#}"));
    assert_eq!(number("/clients"), 20.0);
    for subject in subjects {
        for figure in FIGURES {
            let [median, min, max] = ["median", "min", "max"].map(|of| number(&format!("/subjects/{subject}/{figure}/{of}")));
            assert!(min >= 0.0 && min <= median && median <= max, "{subject} {figure}: {report:#}");
        }
        assert!(report["subjects"][subject]["kept_up"].is_boolean(), "{report:#}");
        assert_eq!(report["subjects"][subject]["ratio_of_ringfort"].is_null(), subject == "ringfort", "{report:#}");
        assert!(number(&format!("/subjects/{subject}/delivered/min")) > 0.0, "{report:#}");
    }
    let sizes = subjects.map(|subject| number(&format!("/subjects/{subject}/down_bytes/median")));
    let rounded = sizes[0].round().max(16.0);
    assert!(sizes[1..].iter().all(|bytes| *bytes == rounded), "the echoes send as much as Ringfort: {sizes:?}");
}
