//! Stamps of what was sent, as they stand in a socket's error queue (recvmsg(2), MSG_ERRQUEUE).

use std::os::fd::AsRawFd;

use nix::libc::{self, sock_extended_err};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::{Place, clock};

/// What a stamp is of (linux/errqueue.h): SCM_TSTAMP_SND and SCM_TSTAMP_SCHED.
const SENT: u32 = 0;
const QUEUED: u32 = 1;

/// Takes the next message from the queue; `None` when there is none. Returns its key, its place and its stamp, if it is
/// one of those.
pub(super) fn next(socket: &impl AsRawFd, control: &mut [u8]) -> Option<Option<(u32, Place, u64)>> {
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(control), flags).ok()?;
    let (mut stamp, mut what) = (None, None);
    for part in message.cmsgs().ok()? {
        match part {
            ControlMessageOwned::ScmTimestampsns(stamps) => stamp = clock::nanos(stamps.system),
            ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                what = key_of(&error);
            }
            _ => {}
        }
    }
    Some(what.zip(stamp).map(|((key, place), stamp)| (key, place, stamp)))
}

fn key_of(error: &sock_extended_err) -> Option<(u32, Place)> {
    if error.ee_origin != libc::SO_EE_ORIGIN_TIMESTAMPING {
        return None;
    }
    let place = match error.ee_info {
        SENT => Place::Device,
        QUEUED => Place::Queue,
        _ => return None,
    };
    Some((error.ee_data, place))
}
