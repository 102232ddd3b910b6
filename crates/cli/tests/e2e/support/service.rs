//! A maker's backend that offers hybrid and classical groups, keeps its session, and comes back by itself. (Debian's clients
//! know no hybrid group.)

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_crypto::certificate::{CertificateChain, IdentityKind, certificates_from_pem};
use countersign_crypto::keystore::key_from_pem;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::tls::{TlsClient, TlsIdentity};
use countersign_device::uplink::core::{Output, SessionEvent, Uplink};
use countersign_device::uplink::outbox::{Outgoing, Weight};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{House, Identity, until};

/// Pause before it comes back.
const PAUSE: Duration = Duration::from_millis(200);

/// A client in a thread of its own.
pub(crate) struct Service {
    publish: mpsc::UnboundedSender<Outgoing>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    messages: Mutex<Vec<(String, Vec<u8>)>>,
    /// Groups and goodbyes, in order.
    log: Mutex<Vec<String>>,
    owed: AtomicUsize,
    subscribed: AtomicUsize,
}

impl Service {
    /// Starts it and waits until its subscriptions stand.
    pub(crate) fn start(house: &House, who: &Identity, client_id: &str, filters: &[&str]) -> Self {
        let (publish, publications) = mpsc::unbounded_channel();
        let seen = Arc::<Seen>::default();
        let client = Client {
            address: house.mqtt.clone(),
            roots: house.roots(),
            who: who.clone(),
            seen: seen.clone(),
        };
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        let session = Uplink::new(client_id, filters, 30);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(client.run(session, publications));
        });
        let service = Self { publish, seen };
        until("the service is subscribed", || {
            (service.seen.subscribed.load(Ordering::SeqCst) > 0).then_some(())
        });
        service
    }

    /// Publishes at QoS 1, until it is acknowledged.
    pub(crate) fn publish(&self, topic: &str, payload: &str) {
        self.seen.owed.fetch_add(1, Ordering::SeqCst);
        let message = Outgoing {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_vec(),
            retain: false,
            correlation: None,
            weight: Weight::Kept,
        };
        self.publish.send(message).unwrap();
    }

    /// Messages that are not acknowledged yet.
    pub(crate) fn owed(&self) -> usize {
        self.seen.owed.load(Ordering::SeqCst)
    }

    /// Payloads of everything that came on topics that begin like this, in order.
    pub(crate) fn heard(&self, beginning: &str) -> Vec<String> {
        let all = self.seen.messages.lock().unwrap();
        let mine = all.iter().filter(|(topic, _)| topic.starts_with(beginning));
        mine.map(|(_, payload)| String::from_utf8_lossy(payload).into_owned()).collect()
    }

    /// Groups that were negotiated, and what the gateway said when it ended a session.
    pub(crate) fn log(&self) -> Vec<String> {
        self.seen.log.lock().unwrap().clone()
    }
}

struct Client {
    address: String,
    roots: PathBuf,
    who: Identity,
    seen: Arc<Seen>,
}

impl Client {
    async fn run(&self, mut session: Uplink, mut publications: mpsc::UnboundedReceiver<Outgoing>) {
        let chain = CertificateChain::from_pem(&std::fs::read(&self.who.crt).unwrap()).unwrap();
        let key = key_from_pem(&std::fs::read(&self.who.key).unwrap()).unwrap();
        let identity = TlsIdentity::new(chain, key).unwrap();
        let roots = certificates_from_pem(&std::fs::read(&self.roots).unwrap()).unwrap();
        let (policy, kinds) = (CompiledPolicy::built_in(), [IdentityKind::Server]);
        let tls =
            TlsClient::new(&policy, Use::DeviceUplink, Some(&identity), &roots, &kinds, "mqtt");
        let tls = tls.unwrap();
        loop {
            if self.connection(&tls, &mut session, &mut publications).await.is_none() {
                return;
            }
            session.closed();
            while session.poll().is_some() {}
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One connection; `None` when nobody wants the service any more.
    async fn connection(
        &self,
        tls: &TlsClient,
        session: &mut Uplink,
        publications: &mut mpsc::UnboundedReceiver<Outgoing>,
    ) -> Option<()> {
        let Ok(stream) = TcpStream::connect(&self.address).await else { return Some(()) };
        let Ok(mut channel) = tls.connect("localhost", stream).await else { return Some(()) };
        self.note(channel.negotiated().group.to_owned());
        session.opened();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(output) = session.poll() {
                match output {
                    Output::Send(bytes) => {
                        if channel.write_all(&bytes).await.is_err()
                            || channel.flush().await.is_err()
                        {
                            return Some(());
                        }
                    }
                    Output::Close => return Some(()),
                    Output::Event(SessionEvent::Message(message)) => {
                        message.packet_id.into_iter().for_each(|id| session.acknowledge(id));
                        self.seen.messages.lock().unwrap().push((message.topic, message.payload));
                    }
                    Output::Event(SessionEvent::Subscribed) => {
                        self.seen.subscribed.fetch_add(1, Ordering::SeqCst);
                    }
                    Output::Event(SessionEvent::Disconnected { text, .. }) => {
                        self.note(text.unwrap_or_default());
                    }
                    Output::Event(_) | Output::SetTimer(..) | Output::StopTimer(_) => {}
                }
            }
            self.seen.owed.store(session.owed() + publications.len(), Ordering::SeqCst);
            tokio::select! {
                read = channel.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Some(()),
                    Ok(count) => session.received(&buffer[..count]),
                },
                message = publications.recv() => session.publish(message?).unwrap(),
            }
        }
    }

    fn note(&self, what: String) {
        self.seen.log.lock().unwrap().push(what);
    }
}
