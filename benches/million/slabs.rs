//! Where the kernel's bytes are: its caches of objects (slabinfo(5)).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// What a connection needs, with what it is for. The kernel keeps some of them together with others of their size.
const KNOWN: [(&str, &str); 12] = [
    ("TCP", "the socket"),
    ("sock_inode_cache", "its inode"),
    ("filp", "its open file"),
    ("dentry", "its name in no directory"),
    ("eventpoll_epi", "its place in an epoll"),
    ("eventpoll_pwq", "the epoll in its wait queue"),
    ("ep_head", "the list of its epolls"),
    ("lsm_inode_cache", "security modules' part of the inode"),
    ("lsm_file_cache", "security modules' part of the file"),
    ("tcp_bind_bucket", "a local port"),
    ("tcp_bind2_bucket", "a local address and port"),
    (PROC, "left by whoever listed our descriptors"),
];

/// The inodes of /proc. A program that lists /proc/PID/fd leaves one there for each descriptor, with a dentry and a part
/// for security modules. The kernel takes them back when memory is short; connections do not need them.
const PROC: &str = "proc_inode_cache";
const BESIDE_PROC: [&str; 2] = ["dentry", "lsm_inode_cache"];

/// All caches, by their names.
pub(crate) struct Slabs(BTreeMap<String, Slab>);

#[derive(Clone, Copy, Default)]
struct Slab {
    objects: f64,
    /// Bytes of all its pages.
    bytes: f64,
    /// Bytes of an object, with its part of what a page has left over.
    each: f64,
}

/// How a cache has grown.
pub(crate) struct Growth {
    /// The names under which the kernel knows it, and what it holds.
    pub(crate) name: String,
    pub(crate) objects: f64,
    pub(crate) each: f64,
    pub(crate) bytes: f64,
}

impl Slabs {
    /// `None` for who is not root.
    pub(crate) fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/slabinfo").ok()?;
        // name active_objs num_objs objsize objperslab pagesperslab : tunables … : slabdata active_slabs num_slabs …
        let lines = text.lines().skip(2).filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |place: usize| words.get(place)?.parse::<f64>().ok();
            let slab = number(5)? * 4096.0;
            let of = Slab { objects: number(1)?, bytes: number(14)? * slab, each: slab / number(4)? };
            Some(((*words.first()?).to_owned(), of))
        });
        Some(Self(lines.collect()))
    }

    /// Bytes of what others have left by looking at our descriptors since `before`.
    pub(crate) fn left_by_others(&self, before: &Self) -> f64 {
        let slab = |slabs: &Self, name: &str| slabs.0.get(name).copied().unwrap_or_default();
        let listed = (slab(self, PROC).objects - slab(before, PROC).objects).max(0.0);
        let beside: f64 = BESIDE_PROC.iter().map(|name| slab(self, name).each).sum();
        listed * (slab(self, PROC).each + beside)
    }

    /// How each cache has grown since `before`, the most first.
    pub(crate) fn growth(&self, before: &Self) -> Vec<Growth> {
        let of = |(name, now): (&String, &Slab)| {
            let then = before.0.get(name).copied().unwrap_or_default();
            let (objects, bytes) = (now.objects - then.objects, now.bytes - then.bytes);
            Growth { name: known_as(name), objects, each: now.each, bytes }
        };
        let mut growths: Vec<Growth> = self.0.iter().map(of).collect();
        growths.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
        growths
    }
}

/// The known names of a cache that is listed as `name`: caches of one size are often one (/sys/kernel/slab has links).
fn known_as(name: &str) -> String {
    let target = |name: &str| fs::read_link(PathBuf::from("/sys/kernel/slab").join(name)).ok();
    let same = |known: &str| known == name || target(known).is_some_and(|known| target(name) == Some(known));
    let known: Vec<String> =
        KNOWN.iter().filter(|(known, _)| same(known)).map(|(known, what)| format!("{known}: {what}")).collect();
    if known.is_empty() { name.to_owned() } else { known.join("; ") }
}
