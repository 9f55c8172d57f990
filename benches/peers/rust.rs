//! The echo servers that a Rust programmer writes, as small as the examples of tokio and of the standard library: a task
//! or a thread for each connection, a buffer of 1,024 bytes, no limits, no timeouts.
//!
//! They announce themselves as pingpong does.

use std::io::{Read, Write};
use std::net::{self, Ipv4Addr, SocketAddr};
use std::{io, thread};

use common::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, Runtime};

const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const BUFFER: usize = 1024;

/// The life of a child in one of these roles.
pub(crate) fn play(role: &str, scheme: &str) -> Result<()> {
    match (role, scheme) {
        ("tokio", _) => serve_with(Builder::new_multi_thread().enable_io().build()?, scheme),
        ("tokio-current-thread", _) => serve_with(Builder::new_current_thread().enable_io().build()?, scheme),
        ("std", "tcp") => threads(),
        ("std", "udp") => datagrams(),
        _ => Err(format!("no such role: {role} {scheme}").into()),
    }
}

/// With the runtime of `#[tokio::main]`, as many workers as CPUs: pinned to one, it has one.
fn serve_with(runtime: Runtime, scheme: &str) -> Result<()> {
    Ok(runtime.block_on(async { if scheme == "udp" { task_datagrams().await } else { tasks().await } })?)
}

async fn tasks() -> io::Result<()> {
    let listener = TcpListener::bind(ANYWHERE).await?;
    announce("tcp", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; BUFFER];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

async fn task_datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind(ANYWHERE).await?;
    announce("udp", socket.local_addr()?);
    let mut buffer = [0; BUFFER];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], peer).await?;
    }
}

fn threads() -> Result<()> {
    let listener = net::TcpListener::bind(ANYWHERE)?;
    announce("tcp", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        thread::Builder::new().spawn(move || {
            let mut buffer = [0; BUFFER];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(())
}

fn datagrams() -> Result<()> {
    let socket = net::UdpSocket::bind(ANYWHERE)?;
    announce("udp", socket.local_addr()?);
    let mut buffer = [0; BUFFER];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], peer)?;
    }
}

fn announce(scheme: &str, address: SocketAddr) {
    println!("listening echo {scheme}://{address}\nready");
}
