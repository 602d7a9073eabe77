//! The tokio peer: the current_thread runtime, one task per client, as its guide writes it.

use helloop::protocol::greeting::{Framing, greet, split_ending};
use std::io;
use std::net;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

/// Serves forever.
pub(crate) fn serve(tcp: net::TcpListener, udp: net::UdpSocket, framing: Framing) {
    let runtime = Builder::new_current_thread().enable_io().build();
    runtime.expect("a runtime").block_on(async {
        let tcp = TcpListener::from_std(tcp).expect("a runtime around");
        let udp = UdpSocket::from_std(udp).expect("a runtime around");
        tokio::spawn(datagrams(udp));
        loop {
            let (stream, _) = tcp.accept().await.expect("a connection");
            match framing {
                Framing::Chunk => tokio::spawn(chunks(stream)),
                Framing::Line => tokio::spawn(lines(stream)),
            };
        }
    });
}

async fn chunks(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(Framing::Chunk.welcome()).await?;
    let mut chunk = [0; 1_024];
    let mut reply = Vec::new();
    loop {
        let count = stream.read(&mut chunk).await?;
        let (name, ending) = split_ending(&chunk[..count]);
        if count == 0 || name == b"exit" {
            return Ok(());
        }
        reply.clear();
        greet(name, ending, &mut reply);
        stream.write_all(&reply).await?;
    }
}

async fn lines(mut stream: TcpStream) -> io::Result<()> {
    let (reader, writer) = stream.split();
    let (mut reader, mut writer) = (BufReader::new(reader), BufWriter::new(writer));
    writer.write_all(Framing::Line.welcome()).await?;
    let mut line = Vec::new();
    loop {
        // All buffered lines are answered: flush the replies before waiting for more.
        if reader.buffer().is_empty() {
            writer.flush().await?;
        }
        line.clear();
        let count = reader.read_until(b'\n', &mut line).await?;
        let (name, _) = split_ending(&line);
        if count == 0 || name == b"exit" {
            return writer.flush().await;
        }
        writer.write_all(b"Hello, ").await?;
        writer.write_all(name).await?;
        writer.write_all(b"!\n").await?;
    }
}

async fn datagrams(socket: UdpSocket) -> io::Result<()> {
    let mut datagram = [0; 1_024];
    let mut reply = Vec::new();
    loop {
        let (count, from) = socket.recv_from(&mut datagram).await?;
        let (name, ending) = split_ending(&datagram[..count]);
        reply.clear();
        greet(name, ending, &mut reply);
        socket.send_to(&reply, from).await?;
    }
}
