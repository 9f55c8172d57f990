//! `--html`: pages as a browser shows them.

use std::path::Path;
use std::process::Command;
use std::{fs, str};

use super::super::support::{Folder, Launch, Namespace, Server, tool};
use super::words;

/// The charts of one run, and how many lines each has.
const OF_ONE: [(&str, usize); 5] = [("percentiles", 3), ("histogram", 1), ("rate", 1), ("times", 3), ("errors", 1)];

/// The charts of several: a line for each.
const OF_SEVERAL: [&str; 7] = ["percentiles", "histogram", "rate", "p50", "p99", "max", "errors"];

/// A run with a page. Returns its text. What a busy machine does not send is no failure of the page.
#[track_caller]
fn page(file: &Path, endpoint: &str, options: &str) -> String {
    let ended = Launch::new(&words(endpoint, &format!("{options} --allow-failures --html {}", file.display()))).run();
    assert!(ended.code == Some(0) || ended.code == Some(7), "{}", ended.stderr);
    fs::read_to_string(file).unwrap()
}

/// A page as Chromium has it once it is loaded, in a network without anybody, and what stands on its console.
fn shown(file: &Path, folder: &Folder, network: &Namespace) -> (String, Vec<String>) {
    let browse = || {
        Command::new("timeout")
            .args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"])
            .arg(format!("--user-data-dir={}", folder.file("profile").display()))
            .args(["--dump-dom", &format!("file://{}", file.display())])
            .output()
            .expect("it runs")
    };
    let output = network.within(browse);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    // Pages of the browser's own speak there too.
    let said = told.lines().filter(|line| line.contains("CONSOLE") && !line.contains("source: chrome:"));
    let console = said.map(str::to_owned).collect();
    (String::from_utf8(output.stdout).unwrap(), console)
}

/// Nothing is taken from elsewhere, be it only on a click.
#[track_caller]
fn assert_loads_nothing(html: &str) {
    for loads in ["http:", "https:", "src=", "url(", "@import", "<script", "<iframe", "<object"] {
        assert!(!html.contains(loads), "{loads}");
    }
    let links: Vec<&str> = html.split("href=").skip(1).map(|rest| rest.split('>').next().unwrap_or_default()).collect();
    assert_eq!(links, ["\"data:,\""], "the icon that a browser would ask for");
}

/// Each of so many lines of a chart is drawn, both wide and narrow.
#[track_caller]
fn assert_has_lines(html: &str, chart: &str, lines: usize) {
    assert!(html.contains(&format!("<figure id=\"{chart}\">")), "{chart}");
    for format in ["wide", "narrow"] {
        for line in 0..lines {
            let id = format!("<g id=\"{chart}-{line}-{format}\"");
            let (_, series) = html.split_once(&id).unwrap_or_else(|| panic!("{id} is not there"));
            let (series, _) = series.split_once("</g>").unwrap();
            assert!(series.contains("<polyline") || series.contains("<circle"), "{id}: {series}");
        }
        let one_more = format!("<g id=\"{chart}-{lines}-{format}\"");
        assert!(!html.contains(&one_more), "{one_more}");
    }
}

#[test]
fn a_page_has_every_line_and_loads_nothing() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let file = folder.file("a.html");
    let html = page(
        &file,
        server.endpoint("ping", "tcp"),
        "-c 2 -r 2k -n 1000 --require connections_lost=0 --require p50<1us",
    );
    assert_loads_nothing(&html);
    for (chart, lines) in OF_ONE {
        assert_has_lines(&html, chart, lines);
    }
    for part in [
        "<h2>Warnings</h2>",
        "too few answers",
        " requests answered right and in time",
        "<td class=\"met\">met</td>",
        "not met",
    ] {
        assert!(html.contains(part), "{part}");
    }
    for table in ["requirements", "figures", "counters", "settings", "machine"] {
        assert!(html.contains(&format!("<table id=\"{table}\">")), "{table}");
    }
}

#[test]
fn steps_are_lines_of_one_picture() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let html = page(&folder.file("a.html"), server.endpoint("ping", "tcp"), "-c 2 -r 1k,2k,4k -d 200ms");
    OF_SEVERAL.iter().for_each(|chart| assert_has_lines(&html, chart, 3));
    for step in ["1,000 a second", "2,000 a second", "4,000 a second"] {
        assert!(html.contains(step), "{step}");
    }
}

#[test]
fn servers_by_turns_and_runs_that_are_compared_are_lines_of_one_picture() {
    let folder = Folder::new();
    let [one, two] = ["ping=127.0.0.1:0"; 2].map(Server::start);
    let against = format!("--against {} -c 2 -r 1k -d 800ms", two.endpoint("ping", "tcp"));
    let html = page(&folder.file("a.html"), one.endpoint("ping", "tcp"), &against);

    // A run and a copy of it: what a busy machine does to one, it does to the other.
    let [old, new] = ["a.json", "b.json"].map(|name| folder.file(name).display().to_string());
    let options = format!("bench {} -c 2 -d 400ms --warmup 0s --json={old} -q", one.endpoint("ping", "tcp"));
    assert_eq!(Launch::new(&options).run().code, Some(0));
    fs::copy(&old, &new).unwrap();
    let file = folder.file("c.html");
    let ended = Launch::new(&format!("bench compare --force {old} --to {new} --html {}", file.display())).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let compared = fs::read_to_string(file).unwrap();
    for (html, lines) in
        [(&html, ["A is tcp://127.0.0.1:", "B is "]), (&compared, ["no difference of more than 5 %", "old: "])]
    {
        assert_loads_nothing(html);
        OF_SEVERAL.iter().for_each(|chart| assert_has_lines(html, chart, 2));
        assert!(html.contains("<table id=\"compared\">"));
        lines.iter().for_each(|line| assert!(html.contains(line), "{line}: {html}"));
    }
}

#[test]
fn a_search_has_its_trials_as_a_table_and_as_a_picture() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let options = "-c 2 -d 500ms --find p50<1h --find errors<50% --to 400";
    let html = page(&folder.file("a.html"), server.endpoint("ping", "tcp"), options);
    assert_loads_nothing(&html);
    // p50, p99 and max.
    for line in 0..3 {
        assert!(html.contains(&format!("<g id=\"search-{line}-wide\"")), "{line}");
    }
    assert!(html.contains("<table id=\"trials\">") && html.contains("found: 400 a second meets p50&lt;1h"), "{html}");
}

#[test]
fn a_sum_and_its_parts_are_lines_of_one_picture() {
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let files = ["a.json", "b.json"].map(|name| folder.file(name).display().to_string());
    let loads = files.each_ref().map(|file| {
        let options =
            format!("bench {} -c 2 -r 1k -d 500ms --warmup 100ms --json={file} -q", server.endpoint("ping", "tcp"));
        Launch::new(&options).spawn()
    });
    for mut load in loads {
        assert_eq!(load.exit_code(), Some(0));
    }
    let sum = folder.file("sum.html");
    // Two loads that a busy machine did not start together are no failure of the page.
    let merged = Launch::new(&format!("bench merge --force {} --html {}", files.join(" "), sum.display())).run();
    assert_eq!(merged.code, Some(0), "{merged:?}");
    let html = fs::read_to_string(&sum).unwrap();
    assert_has_lines(&html, "percentiles", 3);
    assert!(["all together", &files[0], &files[1]].iter().all(|name| html.contains(*name)));
}

#[test]
fn what_comes_from_outside_is_text() {
    let folder = Folder::new();
    let server = Server::start("echo=127.0.0.1:0");
    let text = r#"</title><script>"x"</script>&'\n"#;
    let options = format!("-c 1 -n 20 --send {text} --expect {text}");
    let html = page(&folder.file("a.html"), server.endpoint("echo", "tcp"), &options);
    assert_loads_nothing(&html);
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;&quot;x&quot;"), "the settings");
}

#[test]
fn a_browser_shows_a_page_without_a_word() {
    if !tool("chromium") {
        return;
    }
    let Some(network) = Namespace::new() else { return };
    let folder = Folder::new();
    let server = Server::start("ping=127.0.0.1:0");
    let file = folder.file("a.html");
    let html = page(&file, server.endpoint("ping", "tcp"), "-c 2 -r 2k -n 1000");
    let (document, console) = shown(&file, &folder, &network);
    assert!(console.is_empty(), "{console:?}");
    for (chart, lines) in OF_ONE {
        assert_has_lines(&document, chart, lines);
    }
    assert_eq!(document.matches("<svg").count(), html.matches("<svg").count());

    // What is asked for is seen: were there something to load, or a script, the console would say so.
    let mended = html.replace("<body>", "<body><img src=\"http://127.0.0.1:1/\"><script>1</script>");
    fs::write(&file, mended).unwrap();
    let (_, console) = shown(&file, &folder, &network);
    assert_eq!(console.len(), 2, "{console:?}");
}
