//! The process sets the number of threads before it starts, and is otherwise as it was started.
#![cfg(target_os = "linux")]

use std::fs;

use harness::{Process, send_async};

const VARIABLE: &str = "RAYON_NUM_THREADS";

fn start(value: &str) -> Process {
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--exit-with-parent",
        "--model-repository",
        "/nonexistent/models with a space",
    ];
    let program = env!("CARGO_BIN_EXE_model-service");
    let variables = [(VARIABLE, value), ("OTEL_SDK_DISABLED", "true")];
    Process::start(program, &args, &variables).unwrap()
}

/// Texts of a file of /proc that ends each with a zero.
fn texts(process: &Process, file: &str) -> Vec<String> {
    let content = fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
    let texts = content.split(|byte| *byte == 0);
    let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

fn threads(process: &Process) -> Vec<String> {
    let prefix = format!("{VARIABLE}=");
    let variables = texts(process, "environ").into_iter();
    let values = variables.filter_map(|text| text.strip_prefix(&prefix).map(str::to_owned));
    values.collect()
}

#[tokio::test]
async fn the_process_begins_again_with_the_number_of_threads_and_is_the_same() {
    let available = std::thread::available_parallelism().unwrap().to_string();
    for unset in ["", "0", "many"] {
        // An endless loop would never listen.
        let mut process = start(unset);
        let url = process.url("server.listening").unwrap();
        assert_eq!(
            threads(&process),
            std::slice::from_ref(&available),
            "{unset:?}"
        );
        let arguments = texts(&process, "cmdline");
        assert_eq!(arguments[0], env!("CARGO_BIN_EXE_model-service"));
        assert_eq!(
            arguments.last().unwrap(),
            "/nonexistent/models with a space"
        );
        let name = fs::read_to_string(format!("/proc/{}/comm", process.pid())).unwrap();
        assert_eq!(name.trim(), "model-service");
        let answer = send_async("GET", &format!("{url}/livez"), &[], "").await;
        assert_eq!(answer.unwrap().status, 200);
        // By the pipe of its parent, and by a signal.
        let exit = if unset.is_empty() {
            process.stop().unwrap()
        } else {
            process.signal("TERM").unwrap();
            process.wait().unwrap()
        };
        assert!(exit.success(), "{exit:?}");
        assert_eq!(exit.events("server.listening").len(), 1, "{exit:?}");
    }
}

#[test]
fn the_number_of_a_user_stays() {
    let mut process = start("3");
    process.url("server.listening").unwrap();
    assert_eq!(threads(&process), ["3"]);
    assert!(process.stop().unwrap().success());
}
