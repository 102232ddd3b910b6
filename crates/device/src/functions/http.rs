//! An existing product's HTTP, over loopback or a Unix socket: the gate in front of it is the only way from outside.

use super::FunctionError;
use super::socket::{Op, connect};
use crate::bindings::HttpAt;
use countersign_model::id::AffordanceName;
use countersign_model::thing::parse_value;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Longest head of the product's answers, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The product's statuses that say that the value was at fault.
const VALUE_REFUSED: [StatusCode; 3] =
    [StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];

#[derive(Debug)]
pub(super) struct Http {
    at: HttpAt,
    turns: Semaphore,
    most: usize,
}

impl Http {
    pub(super) fn new(at: HttpAt, at_once: usize, most: usize) -> Self {
        Self { at, turns: Semaphore::new(at_once), most }
    }

    /// One call, on a connection of its own. `value` is placed at `pointer` of the body; an empty answer is null.
    pub(super) async fn call(
        &self,
        op: Op,
        name: &AffordanceName,
        (method, path, pointer): (&str, &str, &str),
        value: Option<&Value>,
    ) -> Result<Value, FunctionError> {
        let failed = |why: String| FunctionError::Failed(format!("{name}: {method} {path}: {why}"));
        let _turn = self.turns.acquire().await.map_err(|error| failed(error.to_string()))?;
        let body = value.map(|value| placed(pointer, value.clone()).to_string());
        let mut request = Request::builder().method(method).uri(path);
        let host = match &self.at {
            HttpAt::Loopback(address) => address.to_string(),
            HttpAt::Unix(_) => "localhost".to_owned(),
        };
        request = request.header(HOST, host).header("accept", "application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).map_err(|error| failed(error.to_string()))?;
        let answered = match &self.at {
            HttpAt::Loopback(address) => {
                let stream = TcpStream::connect(address).await;
                exchange(stream.map_err(|error| failed(error.to_string()))?, request, self.most)
                    .await
            }
            HttpAt::Unix(at) => {
                let stream = connect(at, "http.user").await.map_err(failed)?;
                exchange(stream, request, self.most).await
            }
        };
        let (status, bytes) = answered.map_err(failed)?;
        if VALUE_REFUSED.contains(&status) {
            return Err(FunctionError::Input("the product does not take this value".to_owned()));
        }
        if !status.is_success() {
            return Err(failed(format!("answered {status}")));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        match parse_value(&bytes) {
            Ok(value) => Ok(value),
            // A product that answers a change, or a call without a value, with a page of text has done it.
            Err(_) if op != Op::Read => Ok(Value::Null),
            Err(error) => Err(failed(format!("answered with no JSON: {error}"))),
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<(StatusCode, Bytes), String> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), most).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    };
    // Both in this task: whoever stops waiting closes the connection. A product may close it behind its answer.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = talk => done,
        () = drive => Err("closed the connection".to_owned()),
    }
}

/// `value` at `pointer` (RFC 6901) of an otherwise empty object.
fn placed(pointer: &str, value: Value) -> Value {
    pointer.rsplit('/').take(pointer.matches('/').count()).fold(value, |inner, token| {
        let key = token.replace("~1", "/").replace("~0", "~");
        Value::Object(Map::from_iter([(key, inner)]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_stands_where_it_is_looked_for() {
        for (pointer, whole) in [
            ("", json!(5)),
            ("/on", json!({"on": 5})),
            ("/a/b~1c/~0d", json!({"a": {"b/c": {"~d": 5}}})),
        ] {
            assert_eq!(placed(pointer, json!(5)), whole);
            assert_eq!(whole.pointer(pointer), Some(&json!(5)));
        }
    }
}
