//! A cluster, and a server with TLS, of a test's own.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::wait_until as eventually;

use super::server::{RedisServer, text};

/// Three servers that share the slots of a cluster.
pub(super) struct Cluster {
    pub(super) nodes: Vec<RedisServer>,
}

/// A server that speaks TLS on one more port.
pub(super) struct TlsServer {
    pub(super) plain: RedisServer,
    pub(super) port: String,
    folder: PathBuf,
}

/// What makes a server a node of a cluster.
const CLUSTER: [&str; 6] = [
    "--cluster-enabled",
    "yes",
    "--cluster-config-file",
    "nodes.conf",
    "--cluster-node-timeout",
    "1000",
];

impl Cluster {
    /// A cluster that has all slots and nothing in them.
    pub(super) fn start() -> Self {
        let cluster = Self {
            nodes: (0..3).map(|_| RedisServer::start(&CLUSTER)).collect(),
        };
        let addresses = cluster.addresses();
        text(
            Command::new("redis-cli")
                .args(["--cluster", "create"])
                .args(&addresses)
                .arg("--cluster-yes"),
        );
        cluster.wait_until_whole();
        cluster
    }

    /// One more server, which holds what the first node holds and takes over when that is gone.
    pub(super) fn add_replica(&mut self) {
        let replica = RedisServer::start(&CLUSTER);
        let (address, addresses) = (format!("127.0.0.1:{}", replica.port), self.addresses());
        let master = self.nodes[0].cli(&["cluster", "myid"]).trim().to_owned();
        let mut command = Command::new("redis-cli");
        command.args([
            "--cluster",
            "add-node",
            &address,
            &addresses[0],
            "--cluster-slave",
        ]);
        text(command.args(["--cluster-master-id", &master]));
        let follows = || {
            replica
                .cli(&["info", "replication"])
                .contains("master_link_status:up")
        };
        eventually("the replica follows its master", follows);
        self.nodes.push(replica);
        // The others vote for it only if they have heard of it.
        let known =
            |node: &RedisServer| node.cli(&["cluster", "nodes"]).matches("slave").count() == 1;
        eventually("all know the replica", || self.nodes.iter().all(known));
    }

    /// Its address with all nodes.
    pub(super) fn url(&self) -> String {
        format!("redis+cluster://{}", self.addresses().join(","))
    }

    /// Waits until every node finds that all slots are served.
    pub(super) fn wait_until_whole(&self) {
        let whole =
            |node: &RedisServer| node.cli(&["cluster", "info"]).contains("cluster_state:ok");
        eventually("the cluster is whole", || self.nodes.iter().all(whole));
    }

    /// Moves some of the slots of the first node to the second one, with what is in them.
    pub(super) fn move_slots(&self, slots: u32) {
        let id = |node: &RedisServer| node.cli(&["cluster", "myid"]).trim().to_owned();
        let (from, to) = (id(&self.nodes[0]), id(&self.nodes[1]));
        let mut command = Command::new("redis-cli");
        command.args([
            "--cluster",
            "reshard",
            &self.addresses()[0],
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
        ]);
        text(command.args(["--cluster-slots", &slots.to_string(), "--cluster-yes"]));
    }

    fn addresses(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect()
    }
}

impl TlsServer {
    pub(super) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("throughline-redis-")
            .tempdir()
            .unwrap();
        make_certificates(folder.path());
        Self::start_in(folder, &[])
    }

    /// Three nodes of a cluster that speak TLS to each other, too.
    pub(super) fn start_cluster() -> [Self; 3] {
        let options = [
            &CLUSTER[..],
            &["--tls-cluster", "yes", "--tls-replication", "yes"],
        ]
        .concat();
        let certificates = tempfile::tempdir().unwrap();
        make_certificates(certificates.path());
        let node = |_| {
            let folder = tempfile::Builder::new()
                .prefix("throughline-redis-")
                .tempdir()
                .unwrap();
            for name in ["ca.crt", "tls.crt", "tls.key"] {
                std::fs::copy(certificates.path().join(name), folder.path().join(name)).unwrap();
            }
            Self::start_in(folder, &options)
        };
        let nodes = [0, 1, 2].map(node);
        let addresses = nodes
            .each_ref()
            .map(|node| format!("127.0.0.1:{}", node.port));
        let mut command = Command::new("redis-cli");
        command
            .arg("--tls")
            .arg("--cacert")
            .arg(nodes[0].file("ca.crt"))
            .args(["--cluster", "create"]);
        text(command.args(addresses).arg("--cluster-yes"));
        let whole = |node: &Self| {
            node.plain
                .cli(&["cluster", "info"])
                .contains("cluster_state:ok")
        };
        eventually("the cluster is whole", || nodes.iter().all(whole));
        nodes
    }

    fn start_in(folder: tempfile::TempDir, options: &[&str]) -> Self {
        let path = folder.path().to_owned();
        let plain = RedisServer::start_in(folder, options);
        let port = plain
            .cli(&["config", "get", "tls-port"])
            .lines()
            .last()
            .unwrap()
            .to_owned();
        Self {
            plain,
            port,
            folder: path,
        }
    }

    /// A file of its folder: `ca.crt`, `tls.crt` and `tls.key`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// An authority, and a certificate by it for this machine.
fn make_certificates(folder: &Path) {
    let configuration = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = throughline test\n\
        [ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\nsubjectKeyIdentifier = hash\n\
        [server]\nbasicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost, IP:127.0.0.1\n";
    std::fs::write(folder.join("openssl.cnf"), configuration).unwrap();
    let openssl = |arguments: &str| {
        text(
            Command::new("openssl")
                .current_dir(folder)
                .args(arguments.split(' ')),
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config openssl.cnf";
    let sign =
        "-CA ca.crt -CAkey ca.key -CAcreateserial -extfile openssl.cnf -extensions server -days 2";
    openssl(&format!(
        "req -x509 {key} -extensions ca -keyout ca.key -out ca.crt -days 2"
    ));
    openssl(&format!("req {key} -keyout tls.key -out tls.csr"));
    openssl(&format!("x509 -req -in tls.csr {sign} -out tls.crt"));
}
