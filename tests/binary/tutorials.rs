//! Each pair of the tutorials' programs, four ways (see `fourways`). Every difference between theirs and ours is listed
//! here with its reason; a difference that is not listed fails a test, and so does a listed one that is not seen.

use super::fourways::{
    ALL_OURS, Client, Difference, OursOurs, OursTheirs, Server, Talked, TheirsOurs, Way, Wire, client, compare, lines,
    printed, server, told, typist,
};
use super::recorder::Recorder;
use super::talk::Talk;

#[test]
fn the_accepting_and_printing_server() {
    let talk = |way: Way| {
        let ours = "hello=tcp://127.0.0.1:0 --delay 0s -vv";
        let (mut server, address) = server(way, "tcp", ("accept_print_server.py", &[]), ours)?;
        let recorder = Recorder::tcp(address);
        let said: &[_] =
            if way.our_server() { &[("", "Welcome!"), ("hello", "Hello, hello!")] } else { &[("hello", "")] };
        let mut client = typist(way, "tcp", recorder.address(), said, "line")?;
        if !way.our_server() {
            server.sees("received");
        }
        client.ends_input();
        // Ours tells a shell that it was not answered.
        let is_unanswered = way.our_client() && !way.our_server();
        assert_eq!(client.ends().code, Some(i32::from(is_unanswered)));
        let client = lines(&client.written());
        Some(Talked { wire: recorder.notes(), client, server: printed(way, server) })
    };
    compare(
        talk,
        [(Wire, &[r"> hello\n"]), (Client, &[]), (Server, &["connected by PEER", r"received b'hello\n'"])],
        &[
            Difference {
                ways: ALL_OURS,
                place: Wire,
                here: &["< Welcome!", r"> hello\n", r"< Hello, hello!\n"],
                because: "on that port our server is a hello server, which answers; what is shown is its log",
            },
            Difference {
                ways: ALL_OURS,
                place: Client,
                here: &["Welcome!Hello, hello!"],
                because: "and the client prints that",
            },
            Difference {
                ways: ALL_OURS,
                place: Server,
                here: &[
                    "hello: PEER connected",
                    r#"hello: PEER received "hello", answered "Hello, hello!""#,
                    "hello: PEER closed (peer)",
                ],
                because: "a log at -vv: which service, the text without its line end, the answer too, the end too",
            },
        ],
    );
}

#[test]
fn ping_pong_over_tcp() {
    let talk = |way: Way| {
        let (server, address) = server(way, "tcp", ("pingpong_server.py", &[]), "ping=tcp://127.0.0.1:0 -vv")?;
        let recorder = Recorder::tcp(address);
        let framing = if way == OursTheirs { "raw" } else { "line" };
        let said = [("hello pdudo", "pong"), ("ping", "pong")];
        let mut client = typist(way, "tcp", recorder.address(), &said, framing)?;
        client.ends_input();
        client.ends_well();
        Some(Talked { wire: recorder.notes(), client: lines(&client.written()), server: printed(way, server) })
    };
    compare(
        talk,
        [
            (Wire, &[r"> hello pdudo\n", "< pong", r"> ping\n", "< pong"]),
            (Client, &["pongpong"]),
            (Server, &[r"tcp received b'hello pdudo\n'", r"tcp received b'ping\n'"]),
        ],
        &[
            Difference {
                ways: ALL_OURS,
                place: Wire,
                here: &[r"> hello pdudo\n", r"< pong\n", r"> ping\n", r"< pong\n"],
                because: "an answer to a line is a line",
            },
            Difference {
                ways: ALL_OURS,
                place: Client,
                here: &["pong", "pong"],
                because: "so it is printed on a line of its own",
            },
            Difference {
                ways: &[OursTheirs],
                place: Wire,
                here: &["> hello pdudo", "< pong", "> ping", "< pong"],
                because: "--framing raw, for a server that ends no lines, sends the bare text",
            },
            Difference {
                ways: ALL_OURS,
                place: Server,
                here: &[
                    "ping: PEER connected",
                    r#"ping: PEER received "hello pdudo", answered "pong""#,
                    r#"ping: PEER received "ping", answered "pong""#,
                    "ping: PEER closed (peer)",
                ],
                because: "a log at -vv: who, the text without its line end, the answer too, the end too",
            },
            Difference {
                ways: &[OursTheirs],
                place: Server,
                here: &["tcp received b'hello pdudo'", "tcp received b'ping'"],
                because: "the bare text came",
            },
        ],
    );
}

#[test]
fn ping_pong_over_udp() {
    let talk = |way: Way| {
        let (server, address) = server(way, "udp", ("pingpong_server.py", &[]), "ping=udp://127.0.0.1:0 -vv")?;
        let recorder = Recorder::udp(address);
        let said = [("hello pdudo", "pong"), ("ping", "pong")];
        let mut client = typist(way, "udp", recorder.address(), &said, "line")?;
        client.ends_input();
        if way.our_client() {
            client.ends_well();
        }
        let client = lines(&client.written());
        Some(Talked { wire: recorder.notes(), client, server: printed(way, server) })
    };
    compare(
        talk,
        [
            (Wire, &[r"> hello pdudo\n", "< pong", r"> ping\n", "< pong"]),
            (Client, &["pongpong"]),
            (Server, &[r"udp received b'hello pdudo\n'", r"udp received b'ping\n'"]),
        ],
        &[
            Difference {
                ways: &[TheirsOurs],
                place: Wire,
                here: &[r"> hello pdudo\n", r"< pong\n", r"> ping\n", r"< pong\n"],
                because: "a datagram's line end is mirrored in the answer",
            },
            Difference {
                ways: &[OursTheirs, OursOurs],
                place: Wire,
                here: &["> hello pdudo", "< pong", "> ping", "< pong"],
                because: "a datagram is a message without a line end",
            },
            Difference {
                ways: &[TheirsOurs, OursTheirs, OursOurs],
                place: Client,
                here: &["pong", "pong"],
                because: "the line end came with the answer, or our client, at a pipe, adds one",
            },
            Difference {
                ways: ALL_OURS,
                place: Server,
                here: &[
                    r#"ping: PEER received "hello pdudo", answered "pong""#,
                    r#"ping: PEER received "ping", answered "pong""#,
                ],
                because: "a log at -vv: who, the text without its line end, the answer too",
            },
            Difference {
                ways: &[OursTheirs],
                place: Server,
                here: &["udp received b'hello pdudo'", "udp received b'ping'"],
                because: "the bare text came",
            },
        ],
    );
}

#[test]
fn hello_over_tcp() {
    let talk = |way: Way| {
        let ours = "hello=tcp://127.0.0.1:0 --delay 50ms -vv";
        let (mut server, address) = server(way, "tcp", ("hello_server.py", &["0.05"]), ours)?;
        let recorder = Recorder::tcp(address);
        let words = ["--framing", "raw", "--greeting", "Michael", "Tracy", "Sarah", "exit"];
        let client = client(way, recorder.address(), "hello_client_tcp.py", ("tcp", &words))?;
        let wire = recorder.notes();
        if !way.our_server() {
            server.sees("closed\n");
        }
        Some(Talked { wire, client, server: printed(way, server) })
    };
    compare(
        talk,
        [
            (
                Wire,
                &[
                    "< Welcome!",
                    "> Michael",
                    "< Hello, Michael!",
                    "> Tracy",
                    "< Hello, Tracy!",
                    "> Sarah",
                    "< Hello, Sarah!",
                    "> exit",
                ],
            ),
            (Client, &["Welcome!", "Hello, Michael!", "Hello, Tracy!", "Hello, Sarah!"]),
            (Server, &["new connection from PEER", "connection from PEER closed"]),
        ],
        &[Difference {
            ways: ALL_OURS,
            place: Server,
            here: &[
                "hello: PEER connected",
                r#"hello: PEER received "Michael", answered "Hello, Michael!""#,
                r#"hello: PEER received "Tracy", answered "Hello, Tracy!""#,
                r#"hello: PEER received "Sarah", answered "Hello, Sarah!""#,
                r#"hello: PEER received "exit", answered """#,
                "hello: PEER closed (service)",
            ],
            because: "a log at -vv: each message too, and why it was closed",
        }],
    );
}

#[test]
fn hello_over_udp() {
    let talk = |way: Way| {
        let (server, address) = server(way, "udp", ("hello_udp_server.py", &[]), "hello=udp://127.0.0.1:0 -vv")?;
        let recorder = Recorder::udp(address);
        let words = ["Michael", "Tracy", "Sarah"];
        let client = client(way, recorder.address(), "hello_client_udp.py", ("udp", &words))?;
        Some(Talked { wire: recorder.notes(), client, server: printed(way, server) })
    };
    compare(
        talk,
        [
            (Wire, &["> Michael", "< Hello, Michael!", "> Tracy", "< Hello, Tracy!", "> Sarah", "< Hello, Sarah!"]),
            (Client, &["Hello, Michael!", "Hello, Tracy!", "Hello, Sarah!"]),
            (Server, &["received from PEER"; 3]),
        ],
        &[Difference {
            ways: ALL_OURS,
            place: Server,
            here: &[
                r#"hello: PEER received "Michael", answered "Hello, Michael!""#,
                r#"hello: PEER received "Tracy", answered "Hello, Tracy!""#,
                r#"hello: PEER received "Sarah", answered "Hello, Sarah!""#,
            ],
            because: "a log at -vv: what was received too",
        }],
    );
}

#[test]
fn echo_for_one_client() {
    let talk = |way: Way| {
        let (mut server, address) = server(way, "tcp", ("echo_server.py", &[]), "echo=tcp://127.0.0.1:0 --once -vv")?;
        let recorder = Recorder::tcp(address);
        let words = ["--framing", "raw", "Hello, world"];
        let client = client(way, recorder.address(), "echo_client.py", ("tcp", &words))?;
        // Either server ends when its client closes.
        let ended = server.ends();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let server = if way.our_server() { told(&ended.stderr) } else { lines(&ended.stdout) };
        Some(Talked { wire: recorder.notes(), client, server })
    };
    compare(
        talk,
        [
            (Wire, &["> Hello, world", "< Hello, world"]),
            (Client, &["received b'Hello, world'"]),
            (Server, &["connected by PEER"]),
        ],
        &[
            Difference {
                ways: &[OursTheirs, OursOurs],
                place: Client,
                here: &["Hello, world"],
                because: "our client prints the answer and nothing else",
            },
            Difference {
                ways: ALL_OURS,
                place: Server,
                here: &[
                    "echo: PEER connected",
                    r#"echo: PEER received "Hello, world", answered "Hello, world""#,
                    "echo: PEER closed (peer)",
                ],
                because: "a log at -vv: each message too, and the end",
            },
        ],
    );
}

#[test]
fn hello_hi_chat() {
    let talk = |way: Way| {
        let (mut server, address) = server(way, "tcp", ("chat_server.py", &[]), "chat=tcp://127.0.0.1:0")?;
        let recorder = Recorder::tcp(address);
        let (host, port) = (recorder.address().ip().to_string(), recorder.address().port().to_string());
        let client = if way.our_client() {
            Talk::client(&format!("tcp://{host}:{port}"), &["--framing", "raw"])
        } else {
            Talk::tutorial("chat_client.py", &[&host, &port])?
        };
        let mut client = client.start();
        for (said, answer) in [("hello", "hi"), ("how are you", "fine")] {
            client.types(format!("{said}\n"));
            server.sees(&format!("client: {said}\n"));
            server.types(format!("{answer}\n"));
            client.sees(answer);
        }
        client.types("exit\n");
        client.ends_well();
        let wire = recorder.notes();
        server.ends_input();
        server.ends_well();
        // Without the lines about where it listens.
        let shown = server.written();
        let (_, shown) = shown.split_once(if way.our_server() { "ready\n" } else { "port " }).unwrap();
        let shown = shown.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '\n');
        Some(Talked { wire, client: lines(&client.written()), server: lines(shown) })
    };
    compare(
        talk,
        [
            (Wire, &["> hello", "< hi", "> how are you", "< fine", "> exit"]),
            (Client, &["input:server: hi", "input:server: fine", "input:"]),
            (Server, &["connected by PEER", "client: hello", "server: client: how are you", "server: "]),
        ],
        &[
            Difference {
                ways: &[OursTheirs, OursOurs],
                place: Wire,
                here: &["> hello", "< hi", "> how are you", "< fine"],
                because: "exit ends our client, and the server sees it close: the word itself is not sent",
            },
            Difference {
                ways: &[OursTheirs, OursOurs],
                place: Client,
                here: &["hifine"],
                because: "at a pipe our client prints the bare answers, byte for byte: no prompt, no line ends of its own",
            },
            Difference {
                ways: &[TheirsOurs],
                place: Server,
                here: &[
                    "[1] PEER connected",
                    "[1] client: hello",
                    "[1] client: how are you",
                    "[1] client: exit",
                    "[1] disconnected",
                ],
                because: "clients have numbers, the prompt is for terminals, and the word exit is a message like any other",
            },
            Difference {
                ways: &[OursOurs],
                place: Server,
                here: &["[1] PEER connected", "[1] client: hello", "[1] client: how are you", "[1] disconnected"],
                because: "clients have numbers, and the prompt is for terminals",
            },
        ],
    );
}
