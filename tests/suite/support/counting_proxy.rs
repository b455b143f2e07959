//! Between a server and its PostgreSQL: counts how often it waits for an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A proxy before PostgreSQL.
pub struct CountingProxy {
    /// The database, through it.
    pub url: String,
    waits: Arc<Waits>,
}

#[derive(Default)]
struct Waits {
    readers: AtomicU64,
    writer: AtomicU64,
}

impl CountingProxy {
    pub fn before(database_url: &str) -> Self {
        let (before, after) = database_url.split_once('@').unwrap();
        let (address, name) = after.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{before}@127.0.0.1:{}/{name}", listener.local_addr().unwrap().port());
        let waits = Arc::<Waits>::default();
        let (counter, address) = (Arc::clone(&waits), address.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&address).unwrap();
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || pass(client, server, &counter));
            }
        });
        Self { url, waits }
    }

    /// How often readers have waited for PostgreSQL so far, and how often who writes the traces.
    pub fn waits(&self) -> [u64; 2] {
        [&self.waits.readers, &self.waits.writer].map(|waits| waits.load(Ordering::SeqCst))
    }
}

/// Passes on what a client says. It waits for an answer where it sends « Sync », or a simple query.
fn pass(mut client: TcpStream, mut server: TcpStream, waits: &Waits) {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    let (mut begun, mut reads_alone, mut writes_traces) = (false, false, false);
    while let Ok(length @ 1..) = client.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..length]);
        loop {
            // The first messages, asking for TLS and naming the user, have no type.
            let header = if begun { 5 } else { 4 };
            let Some(said) = bytes.get(header - 4..header) else { break };
            let end = header - 4 + usize::try_from(u32::from_be_bytes(said.try_into().unwrap())).unwrap();
            if bytes.len() < end {
                break;
            }
            let message: Vec<u8> = bytes.drain(..end).collect();
            if !begun {
                let asks_for_tls = message[4..8] == 80_877_103_u32.to_be_bytes();
                begun = !asks_for_tls;
                continue;
            }
            let text = String::from_utf8_lossy(&message[header..]);
            reads_alone |= message[0] == b'Q' && text.contains("default_transaction_read_only = on");
            writes_traces |= message[0] == b'P' && text.contains("trace_log");
            let counter = match (reads_alone, writes_traces) {
                (true, _) => &waits.readers,
                (_, true) => &waits.writer,
                // Single rows, as of budgets, and what looks now and then.
                _ => continue,
            };
            if matches!(message[0], b'S' | b'Q') {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
        if server.write_all(&chunk[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}
