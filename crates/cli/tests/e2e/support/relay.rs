//! A relay between a client and the gateway that notes when the gateway ends a connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Forwards bytes both ways, without understanding them.
pub(crate) struct Relay {
    address: String,
    ends: Arc<Mutex<Vec<Instant>>>,
}

impl Relay {
    pub(crate) fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ends = Arc::<Mutex<Vec<Instant>>>::default();
        let (target, noted) = (target.to_owned(), ends.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || forward(up, server));
                let noted = noted.clone();
                std::thread::spawn(move || {
                    forward(down, client);
                    noted.lock().unwrap().push(Instant::now());
                });
            }
        });
        Self { address, ends }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// When the target ended its side of a connection, in order.
    pub(crate) fn ends(&self) -> Vec<Instant> {
        self.ends.lock().unwrap().clone()
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
