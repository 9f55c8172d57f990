//! The engine's side of the fake kernel: its sockets and the calls on them.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use pingpong::Address;
use pingpong::engine::{Batch, LocalAddress, Net};
use pingpong::service::ConnId;

use super::{Kernel, Mailbox, Outcome};

pub struct FakeNet(pub Kernel);

/// The server's end of a connection. Dropping it closes it.
pub struct FakeStream {
    kernel: Kernel,
    number: usize,
}

pub struct FakeListener(Kernel);

pub struct FakeDatagram {
    kernel: Kernel,
    number: usize,
}

impl FakeNet {
    pub fn listener(&self) -> FakeListener {
        self.0.borrow_mut().listening = true;
        FakeListener(self.0.clone())
    }

    pub fn datagram(&self) -> FakeDatagram {
        let mut world = self.0.borrow_mut();
        world.datagrams.push(Mailbox { room: usize::MAX, open: true, ..Mailbox::default() });
        FakeDatagram { kernel: self.0.clone(), number: world.datagrams.len() - 1 }
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        let mut world = self.kernel.borrow_mut();
        let connection = &mut world.connections[self.number];
        connection.server_closed = true;
        if !connection.inbound.is_empty() {
            connection.reset_client();
        }
    }
}

impl Drop for FakeListener {
    fn drop(&mut self) {
        let mut world = self.0.borrow_mut();
        world.listening = false;
        for waiting in std::mem::take(&mut world.backlog) {
            world.connections[waiting].reset_client();
        }
    }
}

impl Drop for FakeDatagram {
    fn drop(&mut self) {
        self.kernel.borrow_mut().datagrams[self.number].open = false;
    }
}

fn would_block<T>() -> io::Result<T> {
    Err(ErrorKind::WouldBlock.into())
}

impl Net for FakeNet {
    type Stream = FakeStream;
    type Listener = FakeListener;
    type Datagram = FakeDatagram;

    fn accept(&mut self, _: &mut FakeListener) -> io::Result<(FakeStream, Address)> {
        let mut world = self.0.borrow_mut();
        world.calls.accept += 1;
        if let Some(error) = world.accept_errors.pop_front() {
            return Err(io::Error::from_raw_os_error(error));
        }
        let Some(number) = world.backlog.pop_front() else { return would_block() };
        let address = world.connections[number].address.clone();
        Ok((FakeStream { kernel: self.0.clone(), number }, address))
    }

    fn waiting(&mut self, _: &mut FakeListener) -> Option<usize> {
        Some(self.0.borrow().backlog.len())
    }

    fn is_acknowledged(&mut self, stream: &mut FakeStream) -> bool {
        !self.0.borrow().connections[stream.number].is_slow
    }

    fn connect(&mut self, to: &Address, _: Option<IpAddr>) -> io::Result<FakeStream> {
        let mut world = self.0.borrow_mut();
        world.dialled.push(to.clone());
        if let Some(error) = world.dial_errors.pop_front().flatten() {
            return Err(io::Error::from_raw_os_error(error));
        }
        let number = world.add_connection(to.clone(), usize::MAX);
        world.connections[number].outcome = Some(Outcome::Pending);
        Ok(FakeStream { kernel: self.0.clone(), number })
    }

    fn established(&mut self, stream: &mut FakeStream) -> io::Result<bool> {
        match self.0.borrow().connections[stream.number].outcome {
            Some(Outcome::Pending) => Ok(false),
            Some(Outcome::Failed(error)) => Err(io::Error::from_raw_os_error(error)),
            Some(Outcome::Connected) | None => Ok(true),
        }
    }

    fn ask(&mut self, to: &Address, _: Option<IpAddr>) -> io::Result<FakeDatagram> {
        let mut world = self.0.borrow_mut();
        world.dialled.push(to.clone());
        // A system call takes time, as a look at the clock does.
        world.tell_time();
        drop(world);
        Ok(self.datagram())
    }

    fn register_stream(&mut self, stream: &mut FakeStream, id: ConnId) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.calls.register += 1;
        if world.failing_registrations > 0 {
            world.failing_registrations -= 1;
            return Err(io::Error::from_raw_os_error(nix::libc::ENOSPC));
        }
        let connection = &mut world.connections[stream.number];
        connection.id = Some(id);
        connection.woken = true;
        Ok(())
    }

    fn register_listener(&mut self, _: &mut FakeListener, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn register_datagram(&mut self, socket: &mut FakeDatagram, number: u32) -> io::Result<()> {
        self.0.borrow_mut().datagrams[socket.number].name = number;
        Ok(())
    }

    fn short_read_drains(&self, stream: &FakeStream) -> bool {
        !self.0.borrow().connections[stream.number].is_unix
    }

    fn arm_stream(&mut self, stream: &mut FakeStream, _: ConnId, output_waits: bool) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.calls.arm += 1;
        let connection = &mut world.connections[stream.number];
        if connection.is_unix {
            connection.armed = output_waits;
            // EPOLL_CTL_MOD reports again what is ready.
            connection.woken = true;
        }
        Ok(())
    }

    fn recv(&mut self, stream: &mut FakeStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        world.calls.recv += 1;
        if world.interruptions > 0 {
            world.interruptions -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        let connection = &mut world.connections[stream.number];
        connection.reads += 1;
        if connection.inbound.is_empty() {
            return match (connection.client_reset, connection.client_fin) {
                (true, _) => Err(ErrorKind::ConnectionReset.into()),
                (_, true) => Ok(0),
                _ => would_block(),
            };
        }
        let mut count = buffer.len().min(connection.inbound.len());
        if connection.is_unix {
            count = count.min(connection.boundary);
        }
        match connection.mark {
            Some(0) => connection.mark = None,
            Some(before) => {
                count = count.min(before);
                connection.mark = Some(before - count);
            }
            None => {}
        }
        for (place, byte) in buffer.iter_mut().zip(connection.inbound.drain(..count)) {
            *place = byte;
        }
        if !connection.held_back.is_empty() {
            connection.inbound.extend(connection.held_back.drain(..));
            connection.woken = true;
        }
        Ok(count)
    }

    fn arrived(&mut self, stream: &mut FakeStream) -> io::Result<usize> {
        let world = self.0.borrow();
        let connection = &world.connections[stream.number];
        match connection.inbound.len() {
            0 if connection.client_reset => Err(ErrorKind::ConnectionReset.into()),
            0 if connection.client_fin => Ok(0),
            0 => would_block(),
            count => Ok(count),
        }
    }

    fn send(&mut self, stream: &mut FakeStream, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        world.calls.send += 1;
        if world.interruptions > 0 {
            world.interruptions -= 1;
            return Err(ErrorKind::Interrupted.into());
        }
        let connection = &mut world.connections[stream.number];
        assert!(!connection.server_fin, "nothing is sent behind our FIN");
        if connection.client_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if connection.client_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(connection.outbound_room - connection.outbound.len());
        connection.no_space |= count < bytes.len();
        if count == 0 {
            return would_block();
        }
        connection.outbound.extend(&bytes[..count]);
        Ok(count)
    }

    fn shutdown_write(&mut self, stream: &mut FakeStream) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.connections[stream.number].server_fin = true;
        Ok(())
    }

    fn receive(&mut self, socket: &mut FakeDatagram, batch: &mut Batch) -> io::Result<bool> {
        let mut world = self.0.borrow_mut();
        let mailbox = &mut world.datagrams[socket.number];
        if let Some(error) = mailbox.receive_errors.pop_front() {
            return Err(io::Error::from_raw_os_error(error));
        }
        if mailbox.arrivals.is_empty() {
            return would_block();
        }
        let (slots, arrivals) = batch.split();
        for slot in slots {
            let Some((arrival, bytes)) = mailbox.arrivals.pop_front() else { break };
            slot[..bytes.len()].copy_from_slice(&bytes);
            arrivals.push(arrival);
        }
        Ok(!mailbox.arrivals.is_empty())
    }

    fn send_to(
        &mut self,
        socket: &mut FakeDatagram,
        bytes: &[u8],
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let mailbox = &mut world.datagrams[socket.number];
        if let Some(error) = mailbox.pending_error.take().or(mailbox.send_error) {
            return Err(io::Error::from_raw_os_error(error));
        }
        if mailbox.room == 0 || mailbox.full.contains(to) {
            return would_block();
        }
        mailbox.room -= 1;
        mailbox.sent.push((to.clone(), from, bytes.to_vec()));
        Ok(())
    }

    fn send_run(
        &mut self,
        socket: &mut FakeDatagram,
        bytes: &[u8],
        segment: usize,
        to: &Address,
        from: Option<LocalAddress>,
    ) -> io::Result<()> {
        let count = bytes.len().div_ceil(segment);
        assert!(count > 1 && count <= 64 && bytes.len() <= 65_507, "{count} datagrams, {} bytes", bytes.len());
        let mut world = self.0.borrow_mut();
        let mailbox = &mut world.datagrams[socket.number];
        mailbox.runs.push(count);
        let refused = mailbox.run_errors.pop_front().or(mailbox.send_error);
        if let Some(error) = mailbox.pending_error.take().or(refused) {
            return Err(io::Error::from_raw_os_error(error));
        }
        if !matches!(to, Address::Ip(_)) {
            return Err(ErrorKind::Unsupported.into());
        }
        if mailbox.longest_segment.is_some_and(|longest| segment > longest) {
            return Err(io::Error::from_raw_os_error(nix::libc::EMSGSIZE));
        }
        if mailbox.room < count || mailbox.full.contains(to) {
            return would_block();
        }
        mailbox.room -= count;
        mailbox.sent.extend(bytes.chunks(segment).map(|datagram| (to.clone(), from, datagram.to_vec())));
        Ok(())
    }

    fn arm_datagram(&mut self, socket: &mut FakeDatagram, _: u32, output_waits: bool) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        let mailbox = &mut world.datagrams[socket.number];
        mailbox.armed = output_waits;
        mailbox.woken |= output_waits;
        Ok(())
    }

    fn kernel_drops<'a>(&self, sockets: impl Iterator<Item = &'a FakeDatagram>) -> u64 {
        sockets.map(|socket| self.0.borrow().datagrams[socket.number].lost).sum()
    }
}
