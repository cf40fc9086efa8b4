//! What goes over the socket, and what an error says. The spans are tested in
//! `runtime/tests/process`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::{ClientError, HttpClient};
use crate::chain;

const DEADLINE: Duration = Duration::from_secs(30);

/// A server that takes one request without a body, writes `answer` and closes. It sends on what it
/// read.
fn server(answer: &'static [u8]) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, head) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        socket.write_all(answer).unwrap();
        sender.send(String::from_utf8(head).unwrap()).unwrap();
    });
    (address, head)
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
    let client = HttpClient::new()?.without_context();
    client.send(request, DEADLINE).await
}

async fn get(uri: String) -> Result<Response<Bytes>, ClientError> {
    send(Request::get(uri).body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn a_request_goes_out_as_it_is_and_accepts_everything() {
    let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
    let (address, head) = server(empty);
    let uri = format!("http://u:p@{address}/a%20b/%2e%2e?c=d");
    get(uri).await.unwrap();
    assert_eq!(
        head.recv().unwrap(),
        format!(
            "GET /a%20b/%2e%2e?c=d HTTP/1.1\r\nauthorization: Basic dTpw\r\naccept: */*\r\nhost: {address}\r\n\r\n"
        )
    );

    let (address, head) = server(empty);
    let request = Request::get(format!("http://{address}")).header("accept", "text/plain");
    send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(
        head.recv().unwrap(),
        format!("GET / HTTP/1.1\r\naccept: text/plain\r\nhost: {address}\r\n\r\n")
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (address, _head) =
        server(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n");
    let answer = get(format!("http://{address}/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers()["location"], "/there");
}

#[tokio::test]
async fn a_body_in_pieces_is_joined_and_a_compressed_one_is_left_alone() {
    let (address, _head) = server(
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n\
          3\r\none\r\n2\r\n, \r\n3\r\ntwo\r\n0\r\n\r\n",
    );
    let answer = get(format!("http://{address}/")).await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.body(), "one, two");
}

/// The error of a call with secrets in its address, and its causes.
async fn failure(address: SocketAddr) -> String {
    let answer = get(format!("http://u:p@{address}/a?b=c")).await;
    chain(&answer.unwrap_err())
}

#[tokio::test]
async fn an_error_names_its_causes_and_no_more_of_the_address_than_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = failure(address).await;
    let connect =
        format!("cannot connect to {address}: client error (Connect): tcp connect error: ");
    assert!(error.starts_with(&connect), "{error}");

    let (address, _head) = server(b"");
    let error = failure(address).await;
    assert_eq!(
        error,
        format!(
            "the exchange with {address} broke off: client error (SendRequest): connection closed before message completed"
        )
    );

    let (address, _head) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    let error = failure(address).await;
    assert_eq!(
        error,
        format!(
            "the exchange with {address} broke off: error reading a body from connection: end of file before message length reached"
        )
    );
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_no_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = get(format!("https://{address}/")).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(chain(&error).ends_with("timed out"), "{error:?}");
}
