//! A page is read as XML, and what it must show is looked for.

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::json;

use super::*;

fn report() -> Value {
    let second = |t: i32| {
        json!({
            "t": t, "live": 100 + t, "watching": 7, "bytes": 50_000,
            "network_ms": { "p50": 2.0, "p99": 9.0 + f64::from(t), "max": 30.0 },
            "input_to_snapshot_ms": { "p50": 50.0, "p99": 99.0, "max": 120.0 },
            "generator_cpu_percent": 30.0,
            "server": {
                "cpu_percent": { "frontend": 20.0, "sim": 3.0, "supervisor": 0.1, "total": 23.1 },
                "tick_us": { "p50": 300, "p99": 500, "max": 700 }, "tick_late_us": { "max": 90 },
                "packets_per_datagram": { "in": 1.02, "out": 1.01 },
                "pss_bytes": 90 << 20, "rss_bytes": 300 << 20,
            },
        })
    };
    json!({
        "phase": "a & b",
        "run": { "scenario": "battle", "rate_hz": 10.0, "duration_s": 5.0 },
        "clients": { "requested": 100 },
        "latency_ms": { "network": { "count": 9, "p50": 2.0, "p99": 9.0, "p999": 9.5, "max": 30.0, "histogram": [[1.0, 4], [2.0, 5]] } },
        "series": (0..5).map(second).collect::<Vec<_>>(),
    })
}

/// The plots of a page by their titles, each with its named lines and how many points they have.
fn plots_of<'d>(document: &'d Document<'d>) -> Vec<(Node<'d, 'd>, &'d str)> {
    let svgs = document.descendants().filter(|node| node.has_tag_name("svg"));
    svgs.map(|svg| (svg, svg.children().find(|child| child.has_tag_name("title")).and_then(|title| title.text()).unwrap_or("")))
        .collect()
}

fn of_class<'d>(plot: Node<'d, 'd>, class: &str) -> Vec<Node<'d, 'd>> {
    plot.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

#[test]
fn a_page_has_all_plots_with_axes_and_series_and_needs_nothing_else() {
    let page = html(&report());
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("well-formed");
    let plots = plots_of(&document);
    let titles: Vec<&str> = plots.iter().map(|(_, title)| *title).collect();
    let all = [
        "Network latency",
        "Input to snapshot",
        "Network latency, histogram",
        "Tick time",
        "Processor time by process",
        "Snapshots",
        "Packets a datagram",
        "Clients",
        "Memory of the server",
    ];
    assert_eq!(titles, all);
    for (plot, title) in &plots {
        assert_eq!(of_class(*plot, "axis").len(), 2, "{title}");
        assert!(of_class(*plot, "x").len() >= 2 && of_class(*plot, "y").len() >= 2, "{title}");
        for line in of_class(*plot, "line") {
            let path = line.attribute("d").unwrap_or("");
            assert_eq!(path.matches(['M', 'L']).count(), 5, "{title}: {line:?}");
        }
    }
    let names =
        |at: usize| of_class(plots[at].0, "line").iter().filter_map(|line| line.attribute("data-name")).collect::<Vec<_>>();
    assert_eq!(names(0), ["p50", "p99", "max"]);
    assert_eq!(names(4), ["front-ends", "sims", "supervisor", "generator"]);
    assert_eq!(names(8), ["shared pages once", "all resident pages"]);
    assert_eq!(of_class(plots[2].0, "bar").len(), 2);
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("<script"));
    assert!(page.contains("a &amp; b: battle, 100 clients x 10 Hz, 5 s"));
}

#[test]
fn what_could_not_be_measured_leaves_a_plot_empty() {
    let mut remote = report();
    for second in remote["series"].as_array_mut().expect("seconds") {
        second["server"] = Value::Null;
    }
    let page = html(&json!({ "phases": [remote, json!({})] }));
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("well-formed");
    let plots = plots_of(&document);
    assert_eq!(plots.len(), 18);
    let ticks = of_class(plots[3].0, "line");
    assert!(ticks.iter().all(|line| line.attribute("d") == Some("")));
    assert!(!page.contains("NaN") && !page.contains("inf"), "no picture has a place that is no number");
    assert!(page.contains("run, ? clients x ? Hz, ? s"), "what is not known is not made up");
}

#[test]
fn a_latency_that_was_never_measured_is_none_and_not_the_best_there_is() {
    let nothing = json!({ "count": 0, "p50": null, "p99": null, "p999": null, "max": null });
    let page = html(&json!({ "latency_ms": { "resume_gap": nothing } }));
    assert!(page.contains("<td>resume gap</td><td>0</td><td>-</td><td>-</td><td>-</td><td>-</td>"), "{page}");
}

#[test]
fn hostile_names_stay_text() {
    let mut hostile = report();
    let name = "</h2><script>alert('1')</script><img src=\"//evil\" onerror='x'>&amp;\u{0}\u{1b}]]>\u{ffff}";
    hostile["phase"] = name.into();
    hostile["run"]["scenario"] = name.into();
    hostile["latency_ms"][name] = hostile["latency_ms"]["network"].clone();
    let page = html(&hostile);
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("well-formed");
    let tags: std::collections::BTreeSet<&str> =
        document.descendants().filter(Node::is_element).map(|node| node.tag_name().name()).collect();
    assert!(!tags.contains("script") && !tags.contains("img"), "{tags:?}");
    let is_name = |text: &str| text.contains("<script>alert('1')</script>") && text.contains("&amp;\u{fffd}\u{fffd}]]>\u{fffd}");
    let texts = document.descendants().filter(|node| node.is_text() && node.text().is_some_and(is_name)).count();
    assert_eq!(texts, 2, "the heading and the table's row tell it as it is");
}

#[test]
fn a_page_asks_the_network_for_nothing() {
    let page = html(&report());
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&page, options).expect("well-formed");
    const KNOWN: [&str; 18] = [
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "table", "tr", "th", "td", "div", "svg", "text", "line",
        "path", "rect",
    ];
    for node in document.descendants().filter(Node::is_element) {
        assert!(KNOWN.contains(&node.tag_name().name()), "{node:?}");
        for attribute in node.attributes() {
            let value = attribute.value();
            let fetches = ["src", "href", "action", "data", "style", "background"].contains(&attribute.name());
            assert!(
                !fetches && !attribute.name().starts_with("on") && !value.contains("//") && !value.contains("url("),
                "{node:?}"
            );
        }
    }
    let style = document.descendants().find(|node| node.has_tag_name("style")).and_then(|node| node.text()).expect("a style");
    assert!(!style.contains("url(") && !style.contains("@import"));
    let coordinates = ["x", "y", "x1", "x2", "y1", "y2", "width", "height"];
    for node in document.descendants().filter(|node| node.ancestors().any(|above| above.has_tag_name("svg"))) {
        for attribute in node.attributes().filter(|attribute| coordinates.contains(&attribute.name())) {
            let at: f64 = attribute.value().parse().unwrap_or_else(|_| panic!("{node:?}"));
            assert!((0.0..=560.0).contains(&at), "{node:?} lies outside of its picture");
        }
    }
}
