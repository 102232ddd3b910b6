//! Observation by server-sent events, and HTTP/2.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::tls::TlsIdentity;
use countersign_device::api::MAX_STREAMS_OF_ONE;
use countersign_device::functions::{
    Answer, FunctionError, Functions, ProductEvent, SimulatedPlug,
};
use countersign_model::id::AffordanceName;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::client::{ask, channel, pair};
use support::maker::Ca;
use support::{WAIT, World, code};

/// A stream that is being read.
struct Stream {
    body: Incoming,
    text: String,
}

fn request(method: &str, uri: &str, accept: &str) -> hyper::Request<Full<Bytes>> {
    let request = hyper::Request::builder().method(method).uri(uri).header("host", "plug");
    request.header("accept", accept).body(Full::new(Bytes::new())).unwrap()
}

impl Stream {
    async fn open(
        api: SocketAddr,
        root: &Certificate,
        person: &TlsIdentity,
        path: &str,
    ) -> Result<Self, u16> {
        let channel = channel(api, root, Some(person), "http/1.1").await.unwrap();
        let io = TokioIo::new(channel);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let asked = request("GET", path, "text/event-stream");
        let response = sender.send_request(asked).await.unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Self { body: response.into_body(), text: String::new() })
    }

    /// Reads until the text holds this; false when the stream ends before.
    async fn until(&mut self, words: &str) -> bool {
        let read = async {
            while !self.text.contains(words) {
                match self.body.frame().await {
                    Some(Ok(frame)) => {
                        let bytes = frame.into_data().unwrap_or_default();
                        self.text.push_str(std::str::from_utf8(&bytes).unwrap());
                    }
                    _ => return false,
                }
            }
            true
        };
        tokio::time::timeout(WAIT, read).await.unwrap_or_else(|_| panic!("no {words:?}"))
    }
}

//= specs/house.md#house-gate
//= type=test
//# A stream MUST end when its subject's permission ends.
//= specs/house.md#house-permits
//= type=test
//# Open sessions MUST be judged again when policy, grants or revocation change.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_until_the_permission_ends() {
    let world = World::new([127, 63, 0, 1]).await;
    let (root, device, home) = (&world.maker.root, world.start(), Ca::home("home"));
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let api = device.api().await;
    let (ada, vic) = (home.person("ada", None), home.person("vic", None));
    let as_ada = |method: &'static str, path: &'static str, body: &'static [u8]| {
        let ada = &ada;
        async move { ask(api, root, Some(ada), method, path, body).await.unwrap().0 }
    };
    assert_eq!(Stream::open(api, root, &vic, "/properties/relay").await.err(), Some(403));
    assert_eq!(as_ada("PUT", "/access/vic", br#"{"role":"viewer"}"#).await, 204);
    for refused in ["/properties/maxPower", "/properties/nothing", "/events/nothing"] {
        assert_eq!(Stream::open(api, root, &vic, refused).await.err(), Some(403), "{refused}");
    }
    // The present value, then what changes.
    let mut one = Stream::open(api, root, &vic, "/properties/relay").await.unwrap();
    assert!(one.until("event: relay\ndata: false\nid: 1\n\n").await);
    let mut all = Stream::open(api, root, &vic, "/properties").await.unwrap();
    let mut events = Stream::open(api, root, &vic, "/events/overload").await.unwrap();
    assert_eq!(as_ada("PUT", "/properties/relay", b"true").await, 204);
    assert!(one.until("event: relay\ndata: true\n").await);
    assert!(all.until("event: relay\ndata: true\n").await && all.until("event: power\n").await);
    assert!(!all.text.contains("maxPower"), "what is not a viewer's is not told");
    assert_eq!(as_ada("PUT", "/properties/maxPower", b"1").await, 204);
    assert!(events.until("event: overload\ndata: {").await);
    // Not theirs any more: every stream ends, and none begins.
    assert_eq!(as_ada("DELETE", "/access/vic", b"").await, 204);
    for stream in [&mut one, &mut all, &mut events] {
        assert!(!stream.until("never").await);
    }
    assert_eq!(Stream::open(api, root, &vic, "/properties/relay").await.err(), Some(403));
    device.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_person_are_bounded_and_come_back() {
    let world = World::new([127, 63, 0, 2]).await;
    let (root, device, home) = (&world.maker.root, world.start(), Ca::home("home"));
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let (api, ada) = (device.api().await, home.person("ada", None));
    // All over one connection of HTTP/2, with ordinary requests between them.
    let channel = channel(api, root, Some(&ada), "h2").await.unwrap();
    assert_eq!(channel.negotiated().alpn.as_deref(), Some("h2"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(channel))
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut open = Vec::new();
    for turn in 0..=MAX_STREAMS_OF_ONE {
        let asked = request("GET", "https://plug/properties/relay", "text/event-stream");
        sender.ready().await.unwrap();
        let response = sender.send_request(asked).await.unwrap();
        let expected = if turn < MAX_STREAMS_OF_ONE { 200 } else { 429 };
        assert_eq!(response.status(), expected, "stream {turn}");
        open.push(response);
    }
    drop(open);
    let again = tokio::time::timeout(WAIT, async {
        loop {
            let asked = request("GET", "https://plug/properties/relay", "text/event-stream");
            sender.ready().await.unwrap();
            if sender.send_request(asked).await.is_ok_and(|response| response.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    again.await.expect("a place that was given back is given again");
    let asked = request("GET", "https://plug/.well-known/wot", "application/td+json");
    let response = sender.send_request(asked).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/td+json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let served: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(served["base"], json!(format!("https://plug-000001.local:{}", api.port())));
    device.stop().await.unwrap();
}

/// A product that does not keep to its own description.
struct Liar(SimulatedPlug);

impl Functions for Liar {
    fn read<'a>(&'a self, property: &'a AffordanceName) -> Answer<'a, Value> {
        match property.as_str() {
            "power" => Box::pin(async { Ok(json!("secret 4711")) }),
            "energy" => Box::pin(async {
                Err(FunctionError::Failed("secret 4711: bus at 0x40".to_owned()))
            }),
            _ => self.0.read(property),
        }
    }
    fn write<'a>(&'a self, property: &'a AffordanceName, value: Value) -> Answer<'a, ()> {
        self.0.write(property, value)
    }
    fn invoke<'a>(&'a self, _: &'a AffordanceName, _: Value) -> Answer<'a, Value> {
        Box::pin(async { Ok(json!({ "relay": "secret 4711" })) })
    }
    fn next_event(&self) -> Answer<'_, ProductEvent> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(ProductEvent { name: "overload".parse().unwrap(), data: json!("secret 4711") })
        })
    }
}

//= specs/house.md#house-gate
//= type=test
//# A value that the device's functions give MUST fit its description, or it is not served.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_description_is_not_served() {
    let world = World::new([127, 63, 0, 3]).await;
    let root = &world.maker.root;
    let device = world.start_with(Arc::new(Liar(SimulatedPlug::new())));
    let home = Ca::home("home");
    pair(device.pairing().await, root, code(), &home, None).await.unwrap();
    let (api, ada) = (device.api().await, home.person("ada", None));
    let mut bodies = Vec::new();
    for (method, path) in
        [("GET", "/properties/power"), ("GET", "/properties/energy"), ("POST", "/actions/toggle")]
    {
        let (status, body) = ask(api, root, Some(&ada), method, path, b"").await.unwrap();
        assert_eq!(status, 500, "{path}");
        bodies.push(body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert!(!String::from_utf8_lossy(&bodies[0]).contains("4711"));
    assert_eq!(Stream::open(api, root, &ada, "/properties/power").await.err(), Some(500));
    // The rest is served, in lists and streams too.
    let mut all = Stream::open(api, root, &ada, "/properties").await.unwrap();
    let mut events = Stream::open(api, root, &ada, "/events").await.unwrap();
    assert!(all.until("event: relay\n").await && events.until(":\n\n").await);
    assert!(!all.text.contains("4711") && !events.text.contains("4711"));
    device.stop().await.unwrap();
}
