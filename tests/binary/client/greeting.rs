//! What the server says first, where that is waited for.

use super::super::support::Folder;
use super::super::talk::Talk;
use super::serve;

#[test]
fn waits_for_the_greeting_before_it_speaks() {
    let folder = Folder::new();
    let (_raw, raw) = serve(&folder, "hello", "--delay 10ms");
    let ended = Talk::client(&raw[0], &["--framing", "raw", "--greeting", "Michael", "Tracy", "exit"]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\nHello, Michael!\nHello, Tracy!\n"), "{ended:?}");
    let folder = Folder::new();
    let (_line, line) = serve(&folder, "hello", "--delay 10ms --framing line");
    let ended = Talk::client(&line[2], &["--greeting", "Michael", "exit"]).run();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "Welcome!\nHello, Michael!\n"), "{ended:?}");
}
