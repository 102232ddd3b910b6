//! Each kind of source with something real behind it.

use super::*;
use crate::functions::socket::wire::MAX_LINE;
use countersign_model::thing::ThingDescription;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};

fn thing() -> ThingDescription {
    let member = json!({ "read": "viewer", "write": "member" });
    let text = json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", { "countersign": "urn:countersign:td#" }],
        "title": "Thing",
        "securityDefinitions": { "home": { "scheme": "auto" } },
        "security": ["home"],
        "properties": { "level": { "type": "integer", "countersign:role": member } },
        "actions": { "go": { "input": { "type": "integer" }, "output": { "type": "integer" }, "countersign:role": "member" } },
        "events": { "beep": { "data": { "type": "integer" }, "countersign:role": "viewer" } },
    });
    ThingDescription::parse(text.to_string().as_bytes()).unwrap()
}

fn bound(folder: &Path, text: &str) -> Bound {
    let file = folder.join("bindings.toml");
    std::fs::write(&file, text).unwrap();
    let bindings = Bindings::read(&file, &thing(), None).unwrap();
    Bound::put_to_work(bindings, Launcher::danger_unconfined())
}

fn name(text: &str) -> AffordanceName {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_file_is_read_written_and_watched() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("level"), "5\n").unwrap();
    let product = bound(
        folder.path(),
        "[properties.level]\nread = { file = 'level' }\nwrite = { file = 'level' }\n[actions]\ngo = { file = 'out' }\n\
         [events]\nbeep = { file = 'level', every_ms = 100 }",
    );
    assert_eq!(product.read(&name("level")).await.unwrap(), json!(5));
    let next = product.next_event();
    let change = async {
        // The first look is what a change is measured by.
        tokio::time::sleep(Duration::from_millis(300)).await;
        product.write(&name("level"), json!(6)).await.unwrap();
    };
    let (event, ()) = tokio::join!(next, change);
    assert_eq!(event.unwrap(), ProductEvent { name: name("beep"), data: json!(6) });
    product.invoke(&name("go"), json!(7)).await.unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("out")).unwrap(), "7\n");
}

#[tokio::test]
async fn a_program_gets_its_value_and_tells_events_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let script = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    script("get", "echo \"$1\"");
    script("picky", "read value; echo \"not $value\" >&2; exit 2");
    script("add", "read value; expr $value + 1");
    script("tell", "echo 1; echo rubbish; echo 2; exec sleep 60");
    let product = bound(
        folder.path(),
        "[properties.level]\nread = { command = ['./get', '3; echo 4'], format = 'number' }\n\
         write = { command = ['./picky'] }\n[actions]\ngo = { command = ['./add'] }\n[events]\nbeep = { command = ['./tell'] }",
    );
    // There is no shell that would take an argument apart.
    assert!(product.read(&name("level")).await.unwrap_err().to_string().contains("is no number"));
    let refused = product.write(&name("level"), json!(9)).await;
    assert_eq!(refused, Err(FunctionError::Input("not 9".to_owned())));
    assert_eq!(product.invoke(&name("go"), json!(41)).await.unwrap(), json!(42));
    assert_eq!(product.next_event().await.unwrap().data, json!(1));
    assert_eq!(product.next_event().await.unwrap().data, json!(2));
}

/// Takes one request after the other and gives these answers.
async fn answers(listener: TcpListener, answers: Vec<&'static str>) -> Vec<String> {
    let mut seen = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        seen.push(String::from_utf8_lossy(&request).into_owned());
    }
    seen
}

#[tokio::test]
async fn an_http_product_is_asked_and_not_believed_everything() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let product = bound(
        folder.path(),
        &format!(
            "[limits]\noutput_bytes = 1000\n[http]\nbase = 'http://{address}'\n[properties.level]\n\
             read = {{ http = 'GET /status', pointer = '/now/level' }}\nwrite = {{ http = 'PUT /level' }}\n\
             [actions]\ngo = {{ http = 'POST /go' }}\n[events]\nbeep = {{ http = 'GET /beeps' }}"
        ),
    );
    assert_eq!(product.behind(), Some(address));
    let huge = Box::leak(
        format!(
            "HTTP/1.0 200 OK\r\n\r\n{{\"now\":{{\"level\":1}},\"x\":\"{}\"}}",
            "y".repeat(2000)
        )
        .into_boxed_str(),
    );
    let asked = tokio::spawn(answers(
        listener,
        vec![
            "HTTP/1.0 200 OK\r\n\r\n{\"now\":{\"level\":3}}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            huge,
            "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
            "not HTTP at all\r\n\r\n",
            "HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone!",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone!",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone!",
        ],
    ));
    let level = name("level");
    assert_eq!(product.read(&level).await.unwrap(), json!(3));
    for _ in 0..4 {
        assert!(matches!(product.read(&level).await, Err(FunctionError::Failed(_))));
    }
    assert!(matches!(product.write(&level, json!(1)).await, Err(FunctionError::Input(_))));
    assert_eq!(product.invoke(&name("go"), json!(1)).await.unwrap(), Value::Null);
    // Words are an answer to what changes something, with a value or without, and no value of a property.
    for input in [json!(1), Value::Null] {
        assert_eq!(product.invoke(&name("go"), input).await.unwrap(), Value::Null);
    }
    assert!(product.read(&level).await.unwrap_err().to_string().contains("no JSON"));
    let asked = asked.await.unwrap();
    assert!(asked[0].starts_with("GET /status HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(product.read(&level).await.is_err(), "nobody listens any more");
}

/// The next line of a connection, as JSON.
async fn line(lines: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap_or_default()
}

async fn say(lines: &mut BufReader<UnixStream>, text: &str) {
    lines.get_mut().write_all(format!("{text}\n").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_program_that_stays_answers_tells_goes_away_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    let product = Arc::new(bound(folder.path(), "rest = 'socket'\n[socket]\npath = 'sock'"));
    let (level, go) = (name("level"), name("go"));
    assert!(product.read(&level).await.unwrap_err().to_string().contains("is not there"));

    let listener = UnixListener::bind(&path).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let ask = |name: AffordanceName| {
        let product = product.clone();
        tokio::spawn(async move { product.invoke(&name, json!(1)).await })
    };
    // Answers in another order, and an event between them.
    let (first, second) = (ask(go.clone()), ask(go.clone()));
    let ids = [line(&mut stream).await["id"].clone(), line(&mut stream).await["id"].clone()];
    say(&mut stream, r#"{"event":"beep","value":9}"#).await;
    say(&mut stream, &format!(r#"{{"id":{},"refused":"no"}}"#, ids[1])).await;
    say(&mut stream, &format!(r#"{{"id":{},"value":5}}"#, ids[0])).await;
    say(&mut stream, r#"{"id":999,"value":"too late"}"#).await;
    let ended = [first.await.unwrap(), second.await.unwrap()];
    assert!(ended.contains(&Ok(json!(5))), "{ended:?}");
    assert!(ended.contains(&Err(FunctionError::Input("no".to_owned()))), "{ended:?}");
    assert_eq!(product.next_event().await.unwrap().data, json!(9));

    // Whatever breaks the protocol ends the connection and every waiting call, and the agent comes again.
    for rubbish in ["rubbish".to_owned(), "x".repeat(MAX_LINE + 1)] {
        let waiting = ask(go.clone());
        line(&mut stream).await;
        let _ = stream.get_mut().write_all(format!("{rubbish}\n").as_bytes()).await;
        assert!(matches!(waiting.await.unwrap(), Err(FunctionError::Failed(_))));
        stream = BufReader::new(listener.accept().await.unwrap().0);
    }
    let waiting = ask(go);
    let id = line(&mut stream).await["id"].clone();
    say(&mut stream, &format!(r#"{{"id":{id},"value":6}}"#)).await;
    assert_eq!(waiting.await.unwrap(), Ok(json!(6)));
}

//= specs/house.md#house-bindings
//= type=test
//# The agent MUST NOT speak to a product's socket that another user has opened than the one its configuration names.
#[tokio::test]
async fn a_socket_of_another_user_gets_no_word() {
    let http = "[http]\nbase = 'unix:sock'\nuser = 54321\n[properties.level]\nread = { http = 'GET /level' }\n\
                write = { http = 'PUT /level' }\n[actions]\ngo = { http = 'POST /go' }\n[events]\nbeep = { http = 'GET /' }";
    for text in ["rest = 'socket'\n[socket]\npath = 'sock'\nuser = 54321", http] {
        let folder = tempfile::tempdir().unwrap();
        let product = bound(folder.path(), text);
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let level = name("level");
        let (asked, heard) = tokio::join!(product.read(&level), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            said
        });
        assert!(asked.is_err());
        assert_eq!(heard, b"", "{text}");
    }
}
