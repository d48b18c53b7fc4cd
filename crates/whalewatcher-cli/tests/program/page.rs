//! The page of the server, in Chromium.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::browser::Browser;
use crate::program::Program;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

async fn serve(folder: &Path, engine: &Server, options: &[&str]) -> Program {
    let (socket, host) = (folder.join("s"), engine.endpoint());
    let arguments = ["serve", "--socket", socket.to_str().unwrap(), "--host", &host];
    let mut program = Program::start(&[&arguments, options].concat());
    assert!(program.error_line().await.contains("serving at unix:"));
    program
}

/// Passes on what comes at a port to the unix socket, also of a server that is started again: its own port
/// could be taken by then. Returns the page's address.
async fn relay(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, socket) = (listener.local_addr().unwrap(), folder.join("s"));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut server = UnixStream::connect(socket).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    format!("http://{address}/")
}

/// An expression: the names in the list, as they are seen.
const NAMES: &str =
    "[...document.querySelectorAll('.container:not([hidden]) .name')].map((name) => name.textContent).join()";

#[tokio::test]
#[ignore = "needs Chromium: cargo xtask test --only page"]
async fn the_page_follows_what_happens_and_is_used_by_keys() {
    let engine = Server::builder().start().unwrap();
    let script = "<script>alert(1)</script>";
    engine.run(ContainerSpec::new("web").project("shop", "web").image("nginx:1.27")).unwrap();
    engine.run(ContainerSpec::new("db").label(script, script)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), TOKEN).unwrap();
    fs::set_permissions(folder.path().join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let token = folder.path().join("token");
    let options = ["--listen", "127.0.0.1:0", "--token-file", token.to_str().unwrap()];
    let mut program = serve(folder.path(), &engine, &options).await;
    let line = program.error_line().await;
    let mut page = Browser::start().await;
    page.open(line.strip_prefix("whalewatcher: serving at ").unwrap()).await;
    for (token, reason) in [("wrong", ""), (TOKEN, "a token is needed")] {
        let asks = format!("document.querySelector('#token-reason').textContent.startsWith({reason:?})");
        page.until(&format!("document.querySelector('#token').open && {asks}")).await;
        page.write(token).await;
        page.value("document.querySelector('#token button').click()").await;
    }
    let names = |expected: &str| format!("{NAMES} === {expected:?}");
    // Those without a project are last.
    page.until(&names("web,db")).await;
    page.until("document.querySelector('#connection').textContent === 'live'").await;
    page.until("document.querySelector('#counts').textContent === '2 containers · 1 engine'").await;
    // The answers without a token.
    page.errors.clear();

    engine.run(ContainerSpec::new("api").project("shop", "api").health_check(true)).unwrap();
    page.until(&names("api,web,db")).await;
    engine.health("api", "unhealthy").unwrap();
    page.until("document.querySelector('.container').dataset.state === 'unhealthy'").await;
    engine.pause("web").unwrap();
    page.until("document.querySelectorAll('.container')[1].dataset.state === 'paused'").await;
    engine.rename("db", script).unwrap();
    page.until(&names(&format!("api,web,{script}"))).await;
    engine.exit("api", 3).unwrap();
    page.until(&names(&format!("web,{script}"))).await;
    page.until("document.querySelector('#changes li').textContent.endsWith('api exited with 3')").await;

    page.press("/").await;
    page.write("NGINX web").await;
    page.until(&names("web")).await;
    page.until("document.querySelector('#counts').textContent.startsWith('1 of 2 containers')").await;
    // A container that the filter does not match stays out of sight.
    engine.run("other").unwrap();
    page.until("document.querySelector('#counts').textContent.startsWith('1 of 3 containers')").await;
    page.press("Escape").await;
    page.until(&names(&format!("web,{script},other"))).await;

    page.press("Escape").await;
    for key in ["j", "j", "ArrowDown", "k"] {
        page.press(key).await;
    }
    page.until(&format!("document.activeElement.querySelector('.name').textContent === {script:?}")).await;
    page.press("Enter").await;
    page.until(&format!("document.querySelector('#details h2').textContent === {script:?}")).await;
    let labels = page.value("document.querySelector('#details .labels').textContent").await;
    assert_eq!(labels, script.repeat(2), "a label as text");
    let changes = page.value("document.querySelector('#details .changes').textContent").await;
    assert!(changes.as_str().unwrap().contains("renamed, was db"), "{changes}");
    engine.exit(script, 0).unwrap();
    page.until("document.querySelector('#details dd').textContent === 'exited'").await;
    page.press("Escape").await;
    page.until("document.querySelector('#details').hidden").await;
    page.until("document.activeElement.matches('.container')").await;

    page.value("document.querySelector('[value=engine]').click()").await;
    page.until("document.querySelectorAll('.group').length === 1").await;
    page.until(&names("other,web")).await;
    assert_eq!(page.errors, [] as [serde_json::Value; 0]);
}

#[tokio::test]
#[ignore = "needs Chromium: cargo xtask test --only page"]
async fn the_page_goes_on_after_restarts_and_names_what_cannot_be_reached() {
    let engine = Server::builder().start().unwrap();
    engine.run("stays").unwrap();
    engine.run("goes").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = serve(folder.path(), &engine, &[]).await;
    let url = relay(folder.path()).await;
    let mut page = Browser::start().await;
    page.open(&url).await;
    page.until(&format!("{NAMES} === 'goes,stays'")).await;
    // The same row, and not another one of that name.
    page.value("window.row = [...document.querySelectorAll('.container')].at(-1)").await;
    program.signal(Signal::TERM);
    program.ended().await;
    page.until("document.querySelector('#connection').dataset.state === 'lost'").await;
    engine.exit("goes", 0).unwrap();
    engine.run("comes").unwrap();
    let _program = serve(folder.path(), &engine, &[]).await;
    page.until(&format!("{NAMES} === 'comes,stays'")).await;
    page.until("document.querySelector('#connection').dataset.state === 'live'").await;
    page.until("document.querySelector('.container:last-child') === window.row").await;

    engine.stop_listening().await;
    page.until("document.querySelector('#problems').textContent.includes('/docker.sock')").await;
    page.until("document.querySelector('.container').dataset.state === 'stale'").await;
    engine.listen_again().unwrap();
    page.until("document.querySelector('#problems').hidden").await;
    page.until("document.querySelector('.container').dataset.state === 'running'").await;
}
