//! Kubernetes without a cluster: the README's manifests, held against the published schemas, and their containers' commands
//! run in network namespaces, with the environment that the Job's controller gives its pods. `kubectl` is a script that
//! keeps what is applied, and shows the pods' logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::support::{Ended, Namespace, Server, pass, tool};
use super::super::talk::Talk;
use super::{Workshop, agrees, blocks, runs, with};

const KUBECTL: &str = "#!/bin/sh
case $1 in
apply) cat \"$3\" >applied ;;
logs) cat logs ;;
esac
";

/// Documents of YAML as JSON, on standard input and output.
const TO_JSON: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))";

/// The README's files and commands.
struct Manifests {
    workshop: Workshop,
    /// The Python that has kubernetes-validate, and with it a reader of YAML.
    python: PathBuf,
}

impl Manifests {
    #[track_caller]
    fn new() -> Option<Self> {
        if !["kubernetes-validate", "timeout"].into_iter().all(tool) {
            return None;
        }
        let workshop = Workshop::new();
        let [server, load] = &blocks("With Kubernetes", "yaml")[..] else { panic!("two files") };
        for (name, text) in [("server.yaml", server), ("load.yaml", load), ("kubectl", &KUBECTL.to_owned())] {
            fs::write(workshop.file(name), text).expect("a file");
        }
        fs::set_permissions(workshop.file("kubectl"), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let which = Talk::program("sh", &["-c", "command -v kubernetes-validate"]).run();
        let script = Path::new(which.stdout.trim()).canonicalize().expect("it is there");
        let python = script.with_file_name("python3");
        Some(Self { workshop, python })
    }

    /// What one of the README's lines applies.
    #[track_caller]
    fn applied(&self, line: &str) -> Vec<Value> {
        let ended = self.workshop.run(&[], &format!("{line}\n{} -c '{TO_JSON}' <applied", self.python.display()));
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
        serde_json::from_str(&ended.stdout).expect("JSON")
    }

    /// Runs the line that collects, for these logs of the pods.
    #[track_caller]
    fn collect(&self, logs: &[String], options: &str) -> Ended {
        fs::write(self.workshop.file("logs"), logs.concat()).expect("a file");
        let line = with(&line("kubectl logs"), &[("merge -", &format!("merge - --json=sum.json {options}"))]);
        self.workshop.run(&[], &line)
    }
}

/// The README's command that begins so.
#[track_caller]
fn line(start: &str) -> String {
    let commands = blocks("With Kubernetes", "sh").concat();
    commands.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}")).to_owned()
}

/// The words of a list in YAML.
#[track_caller]
fn words(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text")).collect()
}

/// The only container of a Deployment or a Job.
fn container(manifest: &Value) -> &Value {
    &manifest["spec"]["template"]["spec"]["containers"][0]
}

/// The server in its pod, and the Job's pods beside it: none has an address that another has.
struct Cluster {
    manifests: Manifests,
    server: Server,
    /// Where the server is.
    _middle: Namespace,
    nodes: Vec<Namespace>,
    job: Value,
}

impl Cluster {
    /// The Job begins to measure at the fourth second from now, or a bit before.
    #[track_caller]
    fn new() -> Option<Self> {
        let manifests = Manifests::new()?;
        let applied = manifests.applied(&line("kubectl apply -f server.yaml"));
        let [deployment, service] = &applied[..] else { panic!("{applied:?}") };
        let ports = [
            &container(deployment)["ports"][0]["containerPort"],
            &container(deployment)["readinessProbe"]["tcpSocket"]["port"],
            &service["spec"]["ports"][0]["port"],
        ];
        assert!(ports.iter().all(|&port| port == 8888), "{ports:?}");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!((&service["spec"]["selector"], &deployment["spec"]["selector"]["matchLabels"]), (labels, labels));

        let job = manifests.applied(&with(&line("sed"), &[("60 seconds", "4 seconds")])).remove(0);
        let parts = job["spec"]["completions"].as_u64().expect("a number");
        let (middle, nodes) = Namespace::star(parts as usize)?;
        let name = service["metadata"]["name"].as_str().expect("a name");
        for (number, node) in (1..).zip(&nodes) {
            node.hosts(&format!("127.0.0.1 localhost\n10.78.{number}.1 {name}\n"));
        }
        let server = middle.launch(&words(&container(deployment)["args"]).join(" ")).start();
        // The probe, as the kubelet runs it in the container.
        let command = words(&container(deployment)["livenessProbe"]["exec"]["command"]);
        let ["/pingpong", probe @ ..] = &command[..] else { panic!("{command:?}") };
        assert_eq!(middle.launch(&probe.join(" ")).run().code, Some(0));
        Some(Self { manifests, server, _middle: middle, nodes, job })
    }

    /// When the measuring begins.
    fn start(&self) -> String {
        let env = container(&self.job)["env"].as_array().expect("a list");
        let start = env.iter().find(|variable| variable["name"] == "START_AT").expect("a start");
        start["value"].as_str().expect("a text").to_owned()
    }

    /// Starts a pod of the Job, by its index from 0, as the command of another one.
    #[track_caller]
    fn pod(&self, index: usize, tool: &str, options: &str) -> Server {
        let container = container(&self.job);
        let mut env = vec![("JOB_COMPLETION_INDEX", index.to_string())];
        for variable in container["env"].as_array().expect("a list") {
            let [name, value] = ["name", "value"].map(|key| variable[key].as_str().expect("a text"));
            env.push((name, value.to_owned()));
        }
        let words = words(&container["args"]).join(" ");
        let words = env.iter().fold(words, |words, (name, value)| words.replace(&format!("$({name})"), value));
        let words = with(&words, &[("-c 400 -r 40k -d 10s", "-c 40 -r 2k -d 2s --warmup 0s --allow-failures")]);
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.nodes[index].within_tool(&format!("env {} {tool}", env.join(" ")), &format!("{words} {options}")).spawn()
    }

    /// All of them.
    #[track_caller]
    fn pods(&self) -> Vec<Server> {
        (0..self.nodes.len()).map(|index| self.pod(index, "", "")).collect()
    }

    /// Waits until the parts measure, and somewhat longer.
    #[track_caller]
    fn measures(&self) {
        let ended = Talk::program("date", &["-d", &self.start(), "+%s"]).run();
        let start = UNIX_EPOCH + Duration::from_secs(ended.stdout.trim().parse().expect("a number"));
        pass(start.elapsed().err().map_or(Duration::ZERO, |error| error.duration()) + Duration::from_millis(500));
    }
}

/// What `kubectl logs` has of a pod: both streams.
fn log(ended: &Ended) -> String {
    let lines = ended.stderr.lines().chain(ended.stdout.lines());
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn manifests_are_those_of_the_published_schemas() {
    let Some(manifests) = Manifests::new() else { return };
    for file in ["server.yaml", "load.yaml"] {
        let file = manifests.workshop.file(file);
        let ended = Talk::program("kubernetes-validate", &["--strict", file.to_str().expect("a plain path")]).run();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    // The validator would have said so.
    let file = manifests.workshop.file("wrong.yaml");
    let load = fs::read_to_string(manifests.workshop.file("load.yaml")).expect("a file");
    fs::write(&file, with(&load, &[("completionMode", "completionsMode")])).expect("a file");
    let ended = Talk::program("kubernetes-validate", &["--strict", file.to_str().expect("a plain path")]).run();
    assert_ne!(ended.code, Some(0), "{ended:?}");

    let job = manifests.applied("kubectl apply -f load.yaml").remove(0);
    let parts = &job["spec"]["completions"];
    let variables = container(&job)["env"].as_array().expect("a list");
    let completions = variables.iter().find(|variable| variable["name"] == "JOB_COMPLETIONS").expect("it is set");
    assert_eq!((&job["spec"]["parallelism"], completions["value"].as_str()), (parts, Some(&*parts.to_string())));
    assert!(line("kubectl logs").contains(&format!("--max-log-requests={parts} ")));
    assert!(line("kubectl logs").contains(&format!("-l job-name={} ", job["metadata"]["name"].as_str().unwrap())));
}

#[test]
fn pods_of_the_job_are_one_load() {
    let Some(mut cluster) = Cluster::new() else { return };
    let probes = cluster.server.stats();
    assert_eq!((probes["messages"], probes["accepted"]), (1, 1));
    let ended: Vec<Ended> = cluster.pods().iter_mut().map(Server::ends).collect();
    assert!(ended.iter().all(|pod| (pod.code, &*pod.stderr) == (Some(0), "")), "{ended:?}");
    let collected = cluster.manifests.collect(&ended.iter().map(log).collect::<Vec<_>>(), "");
    let sum = cluster.manifests.workshop.sum(&collected);
    agrees(&sum, 4, &mut cluster.server, 1);
}

#[test]
fn pods_that_are_killed_or_late_are_missing_and_named() {
    let Some(cluster) = Cluster::new() else { return };
    let mut pods = [
        cluster.pod(0, "", ""),
        cluster.pod(1, "", ""),
        cluster.pod(2, "", ""),
        // Connects for six seconds.
        cluster.pod(3, "", "--connect-rate 6"),
    ];
    cluster.measures();
    pods[1].signal(Signal::SIGKILL);
    // Started when the others measure.
    let too_late = cluster.pod(1, "", "").ends();
    assert_eq!((too_late.code, too_late.stdout.as_str()), (Some(2), ""), "{too_late:?}");
    let ended = pods.each_mut().map(Server::ends);
    assert_eq!(ended.each_ref().map(|pod| pod.code), [Some(0), None, Some(0), Some(4)], "{ended:?}");
    assert_eq!((ended[3].stdout.as_str(), ended[3].stderr.lines().count()), ("", 1), "{ended:?}");

    let logs: Vec<String> = ended.iter().map(log).collect();
    let collected = cluster.manifests.collect(&logs, "");
    assert_eq!(collected.code, Some(2), "{collected:?}");
    for text in ["parts 2 and 4 of 4", "--partial"] {
        assert!(collected.stderr.contains(text), "{text}: {collected:?}");
    }
    let collected = cluster.manifests.collect(&logs, "--partial");
    let sum = cluster.manifests.workshop.sum(&collected);
    assert_eq!(runs(&sum).len(), 2);
    // A log that was cut is no missing part.
    let mut cut = logs.clone();
    cut[0].replace_range(logs[0].len() / 2.., "\n");
    let collected = cluster.manifests.collect(&cut, "--partial");
    assert_eq!(collected.code, Some(1), "{collected:?}");
    assert!(collected.stderr.contains("line 1 begins a result that is cut after"), "{collected:?}");
}

#[test]
fn a_pod_that_is_stopped_in_the_middle_is_named() {
    let Some(cluster) = Cluster::new() else { return };
    let mut pods = cluster.pods();
    cluster.measures();
    pods[1].signal(Signal::SIGTERM);
    let ended: Vec<Ended> = pods.iter_mut().map(Server::ends).collect();
    let collected = cluster.manifests.collect(&ended.iter().map(log).collect::<Vec<_>>(), "");
    assert_eq!(collected.code, Some(2), "{collected:?}");
    assert!(collected.stderr.contains("part 2 "), "{collected:?}");
}

#[test]
fn a_pod_whose_clock_is_wrong_is_named() {
    if !tool("faketime") {
        return;
    }
    let Some(cluster) = Cluster::new() else { return };
    let mut pods = [
        cluster.pod(0, "", ""),
        cluster.pod(1, "", ""),
        cluster.pod(2, "faketime --exclude-monotonic -f -1s", ""),
        cluster.pod(3, "", ""),
    ];
    let ended = pods.each_mut().map(Server::ends);
    assert!(ended.iter().all(|pod| pod.code == Some(0)), "{ended:?}");
    let collected = cluster.manifests.collect(&ended.each_ref().map(log), "");
    assert_eq!(collected.code, Some(2), "{collected:?}");
    assert!(collected.stderr.contains("part 3"), "{collected:?}");
}
