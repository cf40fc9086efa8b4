//! The runner bites: pages that are wrong turn red and say where, and no process outlives its page.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A page of the repository that needs no program of it, so that it runs in a second.
const PAGE: &str = "docs/runner/example.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn runner(page: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_docs-runner"));
    command.current_dir(root()).arg(page);
    command
}

/// Whether all of the page ran well, and what was printed.
fn run(text: &str) -> (bool, String) {
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("page.md");
    std::fs::write(&page, text).expect("it is written");
    let Output {
        status,
        stdout,
        stderr,
    } = runner(&page).output().expect("it starts");
    let printed = [stdout, stderr]
        .map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
        .concat();
    (status.success(), printed)
}

/// The message of a page that must fail, which names this place.
fn red(text: &str, line: usize) -> String {
    let (green, printed) = run(text);
    assert!(!green, "{printed}");
    assert!(printed.contains(&format!("page.md:{line}: ")), "{printed}");
    printed
}

fn line_of(text: &str, part: &str) -> usize {
    1 + text
        .lines()
        .position(|line| line.contains(part))
        .unwrap_or_else(|| panic!("no line has {part}"))
}

/// A text that no other test has on its command lines.
fn unique() -> String {
    format!("{}.{:?}", std::process::id(), std::thread::current().id())
        .replace(['(', ')'], "")
        .replace("ThreadId", "9")
}

/// Waits for a condition that nothing announces.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Whether a process has this argument.
fn running(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let mut lines = processes.filter_map(|one| std::fs::read(one.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    })
}

#[test]
fn a_page_of_the_repository_is_green_and_a_changed_output_or_flag_is_red() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let (green, printed) = run(&page);
    assert!(green, "{printed}");

    let output = page.replacen("3 columns", "4 columns", 1);
    assert_ne!(output, page);
    let printed = red(&output, line_of(&page, "text output"));
    assert!(
        printed.contains("- 4 columns") && printed.contains("+ 3 columns"),
        "{printed}"
    );

    let flag = page.replacen("sort --numeric-sort", "sort --numerically", 1);
    assert_ne!(flag, page);
    let fence = line_of(&page, "sort --numeric-sort");
    let printed = red(
        &flag,
        page.lines()
            .take(fence)
            .collect::<Vec<_>>()
            .iter()
            .rposition(|line| line.starts_with("```sh"))
            .unwrap()
            + 1,
    );
    assert!(
        printed.contains("sort --numerically") && printed.contains("unrecognized option"),
        "{printed}"
    );
}

#[test]
fn a_block_that_hangs_ends_at_its_deadline_with_all_its_processes() {
    let seconds = unique();
    let printed = red(
        &format!("# A\n\n```sh timeout=1\necho begun; sleep {seconds} & sleep {seconds}\n```\n"),
        3,
    );
    assert!(
        printed.contains("deadline") && printed.contains("begun"),
        "{printed}"
    );
    assert!(!running(&seconds));
}

#[test]
fn a_background_block_that_never_answers_is_red_with_its_log() {
    let seconds = unique();
    let page = format!(
        "```sh background until=http://localhost:9001/ timeout=1\necho listening nowhere\nsleep {seconds}\n```\n"
    );
    let printed = red(&page, 1);
    assert!(
        printed.contains("http://localhost:9001/ does not answer"),
        "{printed}"
    );
    assert!(printed.contains("listening nowhere"), "{printed}");
    assert!(!running(&seconds));
    let ended = red(
        "```sh background until=http://localhost:9001/\nexit 3\n```\n",
        1,
    );
    assert!(ended.contains("it ended before"), "{ended}");
}

#[test]
fn a_failing_command_is_red_and_nothing_after_it_runs() {
    let printed = red(
        "```sh\necho first; false\n```\n\n```sh\necho second\n```\n",
        1,
    );
    assert!(
        printed.contains("first") && printed.contains("status 1"),
        "{printed}"
    );
    assert!(printed.contains("0 blocks ran"), "{printed}");
    red("```sh fails\ntrue\n```\n", 1);
    red("```sh\nexit 0\n```\n", 1);
}

#[test]
fn a_process_left_behind_is_red_and_ended_whatever_session_it_is_in() {
    let seconds = unique();
    let (green, printed) = run(&format!("```sh\nsetsid sleep {seconds} &\n```\n"));
    assert!(
        !green && printed.contains(&format!("sleep {seconds}")),
        "{printed}"
    );
    assert!(!running(&seconds));
}

#[test]
fn a_background_block_that_ignores_sigterm_is_red() {
    let seconds = unique();
    let page = format!(
        "```sh background\ntrap '' TERM\ntouch ready\nwhile true; do sleep {seconds}; done\n```\n\n```sh retry\nls ready\n```\n"
    );
    let (green, printed) = run(&page);
    assert!(!green && printed.contains("has not ended"), "{printed}");
    assert!(!running(&seconds));
}

#[test]
fn a_signal_to_the_runner_ends_the_processes_of_its_pages() {
    for signal in ["TERM", "INT"] {
        let (seconds, folder) = (unique() + "1", TempDir::new().unwrap());
        let page = folder.path().join("page.md");
        std::fs::write(
            &page,
            format!(
                "```sh background\nsleep {seconds}\n```\n\n```sh\nsetsid sleep {seconds}\n```\n"
            ),
        )
        .unwrap();
        // The second page must not begin.
        let mut child: Child = runner(&page)
            .args(["--jobs", "1", page.to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the page runs", || running(&seconds));
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(!child.wait().unwrap().success());
        assert!(!running(&seconds), "after SIG{signal}");
    }
}

#[test]
fn a_block_that_another_step_runs_must_stand_there() {
    let page = |line: &str| format!("```sh step=test\n{line}\n```\n");
    let (green, printed) = run(&page("cargo test --workspace    # all of them"));
    assert!(green, "{printed}");
    assert!(printed.contains("1 run by other steps"), "{printed}");
    red(&page("cargo test --workspaces"), 1);
}
