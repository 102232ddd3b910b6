//! Control over the local API: one mutual TLS connection, one request after the other.

use crate::error::ControlError;
use crate::home::Home;
use countersign_crypto::certificate::{Certificate, IdentityKind};
use countersign_crypto::policy::Use;
use countersign_crypto::tls::{Negotiated, TlsClient, TlsError};
use countersign_model::id::{PersonName, ThingId};
use countersign_model::role::Role;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long connecting and each request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long the reason of a connection's end may take to be known.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Largest answer: a whole Thing Description and a margin.
const MAX_ANSWER: usize = 256 * 1024;

/// A connection to one device as one person.
#[derive(Debug)]
pub struct Session {
    host: String,
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; none once it has ended.
    driver: Option<JoinHandle<Result<(), hyper::Error>>>,
    answered: bool,
    negotiated: Negotiated,
}

/// A raw answer, for those who look at refusals.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body, or null.
    pub body: Value,
}

impl Home {
    /// Connects to a paired thing as `person`; through `via` instead of its own address if that is given.
    ///
    /// # Errors
    /// [`ControlError::NotThisDevice`] when another device answers; [`ControlError::Unreachable`].
    /// Whether the device accepts the person shows with the first request.
    pub async fn session(
        &self,
        person: &PersonName,
        thing: &ThingId,
        via: Option<SocketAddr>,
    ) -> Result<Session, ControlError> {
        self.session_under(&self.roots(thing)?, person, thing, via).await
    }

    /// The same, if the device leads to one of `roots`.
    pub(crate) async fn session_under(
        &self,
        roots: &[Certificate],
        person: &PersonName,
        thing: &ThingId,
        via: Option<SocketAddr>,
    ) -> Result<Session, ControlError> {
        let paired = self.thing(thing)?;
        let identity = self.identity(person)?;
        let kinds = [IdentityKind::Thing, IdentityKind::IdevId];
        let use_ = Use::LocalApi;
        let client =
            TlsClient::new(self.policy(), use_, Some(&identity), roots, &kinds, "http/1.1")
                .map_err(ControlError::Tls)?;
        let name = format!("{thing}.local").to_lowercase();
        let connect = async {
            let stream = TcpStream::connect(via.unwrap_or(paired.address))
                .await
                .map_err(ControlError::Unreachable)?;
            // The first request follows the handshake's last word at once, and is not to wait for its acknowledgement.
            let _ = stream.set_nodelay(true);
            let refused = |error: TlsError| ControlError::of_handshake(&error, thing.as_str());
            let channel = client.connect(&name, stream).await.map_err(refused)?;
            let ours = channel.peer().is_some_and(|peer| peer.name() == thing.as_str());
            if !ours {
                return Err(ControlError::NotThisDevice(thing.to_string()));
            }
            let negotiated = channel.negotiated().clone();
            let (sender, connection) =
                handshake(TokioIo::new(channel)).await.map_err(|error| broken(&error))?;
            let driver = Some(tokio::spawn(connection));
            Ok(Session { host: name.clone(), sender, driver, answered: false, negotiated })
        };
        tokio::time::timeout(TIMEOUT, connect).await.map_err(|_| ControlError::TimedOut)?
    }
}

impl Session {
    /// What TLS agreed on.
    #[must_use]
    pub const fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// The Thing Description, as far as this person may see it.
    ///
    /// # Errors
    /// [`ControlError::Refused`] and the others of a request.
    pub async fn describe(&mut self) -> Result<Value, ControlError> {
        self.value("GET", "/.well-known/wot", None).await
    }

    /// Every property that this person may read.
    ///
    /// # Errors
    /// As [`Session::describe`].
    pub async fn properties(&mut self) -> Result<Value, ControlError> {
        self.value("GET", "/properties", None).await
    }

    /// One property.
    ///
    /// # Errors
    /// As [`Session::describe`].
    pub async fn get(&mut self, property: &str) -> Result<Value, ControlError> {
        self.value("GET", &format!("/properties/{property}"), None).await
    }

    /// Sets a property.
    ///
    /// # Errors
    /// As [`Session::describe`]; [`ControlError::Invalid`] for a value that does not fit.
    pub async fn set(&mut self, property: &str, value: &Value) -> Result<(), ControlError> {
        self.value("PUT", &format!("/properties/{property}"), Some(value)).await.map(|_| ())
    }

    /// Invokes an action; gives its output, null where it has none.
    ///
    /// # Errors
    /// As [`Session::set`].
    pub async fn invoke(
        &mut self,
        action: &str,
        input: Option<&Value>,
    ) -> Result<Value, ControlError> {
        self.value("POST", &format!("/actions/{action}"), input).await
    }

    /// Gives a person a role at this device, or another one; who is new there is known by this home's certificates. Owners
    /// only. Other people are invited.
    ///
    /// # Errors
    /// As [`Session::describe`]; [`ControlError::Invalid`] when no owner would be left.
    pub async fn share(&mut self, person: &PersonName, role: Role) -> Result<(), ControlError> {
        let body = json!({ "role": role });
        self.value("PUT", &format!("/access/{person}"), Some(&body)).await.map(|_| ())
    }

    /// Takes a person's role away. Owners only.
    ///
    /// # Errors
    /// As [`Session::share`].
    pub async fn unshare(&mut self, person: &PersonName) -> Result<(), ControlError> {
        self.value("DELETE", &format!("/access/{person}"), None).await.map(|_| ())
    }

    /// The role of a person at this device: `{"person": …, "role": …}`. Owners only.
    ///
    /// # Errors
    /// As [`Session::describe`].
    pub async fn access(&mut self, person: &PersonName) -> Result<Value, ControlError> {
        self.value("GET", &format!("/access/{person}"), None).await
    }

    /// Sends any request and gives the answer as it is.
    ///
    /// # Errors
    /// [`ControlError::NotOurs`] when the device ends the connection over our certificate;
    /// [`ControlError::TimedOut`], [`ControlError::Protocol`].
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Reply, ControlError> {
        let request = self.prepared(method, path, "application/json", body)?;
        let exchange = async { reply(self.send(request).await?).await };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| ControlError::TimedOut)?
    }

    /// Asks for server-sent events; the body in which they come.
    pub(crate) async fn stream(&mut self, path: &str) -> Result<Incoming, ControlError> {
        let request = self.prepared("GET", path, "text/event-stream", None)?;
        let exchange = async {
            let response = self.send(request).await?;
            if response.status() == hyper::StatusCode::OK {
                return Ok(response.into_body());
            }
            let reply = reply(response).await?;
            Err(meaning(reply).err().unwrap_or(ControlError::Refused))
        };
        tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| ControlError::TimedOut)?
    }

    fn prepared(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: Option<&[u8]>,
    ) -> Result<hyper::Request<Full<Bytes>>, ControlError> {
        hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default().to_vec())))
            .map_err(|error| ControlError::Protocol(error.to_string()))
    }

    async fn send(
        &mut self,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, ControlError> {
        let closed = || ControlError::Protocol("the connection is closed".to_owned());
        let driver = self.driver.as_mut().ok_or_else(closed)?;
        let mut sending = std::pin::pin!(async {
            // The connection takes the next request only when it has done with the last one.
            self.sender.ready().await?;
            self.sender.send_request(request).await
        });
        // A request that is handed over just as the connection ends may never hear of it: the connection is asked too.
        let (error, end) = tokio::select! {
            biased;
            sent = &mut sending => match sent {
                Ok(response) => {
                    self.answered = true;
                    return Ok(response);
                }
                Err(error) => {
                    let end = tokio::time::timeout(LAST_WORDS, &mut *driver).await;
                    (Some(error), end.ok().and_then(Result::ok))
                }
            },
            end = &mut *driver => match tokio::time::timeout(LAST_WORDS, sending).await {
                Ok(Ok(response)) => {
                    self.answered = true;
                    return Ok(response);
                }
                _ => (None, end.ok()),
            },
        };
        self.driver = None;
        let cause = end.and_then(Result::err).or(error);
        // In TLS 1.3 a device that does not accept our certificate says so only now, and its alert may be lost with
        // the connection: an end before the first answer is that.
        Err(match cause.as_ref().map_or_else(closed, broken) {
            ControlError::Protocol(text) if !self.answered => ControlError::NotOurs(text),
            other => other,
        })
    }

    async fn value(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ControlError> {
        let bytes = body.map(|body| body.to_string().into_bytes());
        meaning(self.request(method, path, bytes.as_deref()).await?)
    }
}

async fn reply(response: hyper::Response<Incoming>) -> Result<Reply, ControlError> {
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|error| ControlError::Protocol(error.to_string()))?
        .to_bytes();
    let body = match body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&body)
            .map_err(|error| ControlError::Protocol(error.to_string()))?,
    };
    Ok(Reply { status, body })
}

/// What an answer means; reasons are problem details (RFC 9457).
fn meaning(reply: Reply) -> Result<Value, ControlError> {
    let text = |name: &str| reply.body[name].as_str().map(str::to_owned);
    let reason = text("detail").or_else(|| text("title")).unwrap_or_default();
    match reply.status {
        200 | 204 => Ok(reply.body),
        403 => Err(ControlError::Refused),
        400 | 409 => Err(ControlError::Invalid(reason)),
        429 => Err(ControlError::TooMany),
        status => Err(ControlError::Device(status, reason)),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}

/// An alert anywhere among the causes is about our certificate.
fn broken(error: &hyper::Error) -> ControlError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(present) = cause {
        let text = present.to_string();
        if text.contains("alert") {
            return ControlError::NotOurs(text);
        }
        cause = present.source();
    }
    ControlError::Protocol(error.to_string())
}
