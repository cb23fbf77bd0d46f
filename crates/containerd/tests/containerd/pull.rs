//! Images from a registry, which the tests start on loopback.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::Instant,
};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use serde_json::json;
use warren_core::spec::{ImageRef, Pull};
use warren_runtime::{Runtime, RuntimeError};

use crate::lab::{
    Lab,
    archive::{self, Compression, Image},
    eventually, files_below, free_port, image, output,
};

/// `user` with the password `secret`.
const HTPASSWD: &str = "user:$2b$04$BnodtVL4oARveQRcwNMjNuVVToKjcdmdK/OVNE5.HoQbLInPvAEVq\n";

struct Registry {
    process: Child,
    port: u16,
    auth: RegistryAuth,
    data: std::path::PathBuf,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Registry {
    /// `None`, said aloud, where there is none installed.
    async fn start(lab: &Lab, auth: RegistryAuth) -> Option<Self> {
        let port = free_port();
        let data = lab.path("registry");
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "error" },
            "storage": { "filesystem": { "rootdirectory": data } },
            "http": { "addr": format!("127.0.0.1:{port}") },
        });
        if auth != RegistryAuth::Anonymous {
            fs::write(lab.path("htpasswd"), HTPASSWD).unwrap();
            let path = lab.path("htpasswd");
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": path } });
        }
        // JSON is YAML.
        fs::write(lab.path("registry.yml"), config.to_string()).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(lab.path("registry.yml")).process_group(0);
        let Ok(process) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            eprintln!("SKIPPED: needs docker-registry");
            return None;
        };
        let registry = Self { process, port, auth, data };
        eventually("the registry listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        Some(registry)
    }

    fn name(&self, name: &str) -> ImageRef {
        format!("127.0.0.1:{}/{name}", self.port).parse().unwrap()
    }

    fn client(&self, name: &str) -> (Client, Reference) {
        drop(rustls::crypto::ring::default_provider().install_default());
        let protocol = ClientProtocol::Http;
        let client = Client::new(ClientConfig { protocol, ..ClientConfig::default() });
        (client, self.name(name).as_str().parse().unwrap())
    }

    async fn push(&self, name: &str, image: &Image) {
        let (client, reference) = self.client(name);
        let operation = oci_client::RegistryOperation::Push;
        client.auth(&reference, &self.auth, operation).await.unwrap();
        client.store_auth_if_needed(reference.resolve_registry(), &self.auth).await;
        for blob in image.blobs.iter().chain([&image.config]) {
            let digest = archive::digest(blob);
            client.push_blob(&reference, blob.clone(), &digest).await.unwrap();
        }
        self.push_document(name, archive::OCI_MANIFEST, &image.manifest).await;
    }

    async fn push_document(&self, name: &str, media_type: &str, document: &[u8]) {
        let (client, reference) = self.client(name);
        let operation = oci_client::RegistryOperation::Push;
        client.auth(&reference, &self.auth, operation).await.unwrap();
        client.store_auth_if_needed(reference.resolve_registry(), &self.auth).await;
        let media_type = media_type.parse().unwrap();
        client.push_manifest_raw(&reference, document.to_vec(), media_type).await.unwrap();
    }
}

fn marked(mark: &str) -> Image {
    archive::image(mark, &json!({ "Cmd": ["sleep", "600"] }), &Compression::Gzip)
}

fn is_refused(error: RuntimeError, expected: &str) {
    let RuntimeError::Refused(reason) = error else { panic!("{error}") };
    assert!(reason.contains(expected), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_pulls_when_it_should() {
    let Some(lab) = Lab::start().await else { return };
    let Some(registry) = Registry::start(&lab, RegistryAuth::Anonymous).await else { return };
    let driver = lab.connect().await;
    let name = registry.name("some/app:1");
    let digest = async || driver.images().await.unwrap()[0].digest.clone();
    let (old, new) = (marked("old"), marked("new"));
    registry.push("some/app:1", &old).await;

    is_refused(driver.ensure_image(&name, Pull::Never).await.unwrap_err(), "is not on this node");
    driver.ensure_image(&name, Pull::Missing).await.unwrap();
    assert_eq!(digest().await, archive::digest(&old.manifest));
    registry.push("some/app:1", &new).await;
    driver.ensure_image(&name, Pull::Missing).await.unwrap();
    assert_eq!(digest().await, archive::digest(&old.manifest));
    driver.ensure_image(&name, Pull::Always).await.unwrap();
    assert_eq!(digest().await, archive::digest(&new.manifest));
    let (task, _) = lab
        .run(&driver, |template| {
            template.workload = image(name.as_str());
            template.args = Vec::new();
        })
        .await;
    assert_eq!(output(&driver, task, "cat /etc/mark").await, "new");

    drop(registry);
    driver.ensure_image(&name, Pull::Missing).await.unwrap();
    driver.ensure_image(&name, Pull::Never).await.unwrap();
    let error = driver.ensure_image(&name, Pull::Always).await.unwrap_err();
    is_refused(error, "cannot pull 127.0.0.1:");
    assert_eq!(lab.ctr(&["leases", "ls", "-q"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_nobody_waits_for_any_more_holds_nothing() {
    let Some(lab) = Lab::start().await else { return };
    // It accepts, and never answers.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let name = format!("127.0.0.1:{}/app:1", silent.local_addr().unwrap().port());
    let driver = lab.connect().await;
    let name = name.parse().unwrap();
    let pull = driver.ensure_image(&name, Pull::Missing);
    let has_lease = || !lab.ctr(&["leases", "ls", "-q"]).is_empty();
    let leased = eventually("the pull has a lease", async || has_lease());
    tokio::select! {
        pulled = pull => panic!("{pulled:?}"),
        () = leased => {}
    }
    eventually("the lease is gone", async || !has_lease()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replicas_of_a_service_pull_its_image_together() {
    let Some(lab) = Lab::start().await else { return };
    let Some(registry) = Registry::start(&lab, RegistryAuth::Anonymous).await else { return };
    let driver = lab.connect().await;
    registry.push("app:1", &marked("one")).await;
    registry.push("other:1", &marked("two")).await;
    let names = [registry.name("app:1"), registry.name("other:1")];
    let pulls = (0..10).map(|n| driver.ensure_image(&names[n % 2], Pull::Missing));
    futures::future::try_join_all(pulls).await.unwrap();
    assert_eq!(driver.images().await.unwrap().len(), 2);
    assert_eq!(lab.ctr(&["content", "active"]).lines().count(), 1, "only the table's head");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_by_digest_and_images_of_several_machines_are_pulled() {
    let Some(lab) = Lab::start().await else { return };
    let Some(registry) = Registry::start(&lab, RegistryAuth::Anonymous).await else { return };
    let driver = lab.connect().await;
    let ours = marked("ours");
    registry.push("app:ours", &ours).await;
    let digest = archive::digest(&ours.manifest);
    driver.ensure_image(&registry.name(&format!("app@{digest}")), Pull::Missing).await.unwrap();

    let mut entry = archive::descriptor(archive::OCI_MANIFEST, &ours.manifest);
    entry["platform"] = json!({ "os": "linux", "architecture": archive::architecture() });
    let other = marked("other");
    registry.push("app:other", &other).await;
    let mut foreign = archive::descriptor(archive::OCI_MANIFEST, &other.manifest);
    foreign["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    let index = |entries: &[&serde_json::Value]| {
        let media_type = archive::OCI_INDEX;
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        index.to_string().into_bytes()
    };
    let both = index(&[&foreign, &entry]);
    registry.push_document("app:both", archive::OCI_INDEX, &both).await;
    let name = registry.name("app:both");
    driver.ensure_image(&name, Pull::Missing).await.unwrap();
    let images = driver.images().await.unwrap();
    let pulled = images.iter().find(|image| image.name == name.as_str()).unwrap();
    assert_eq!(pulled.digest, archive::digest(&both));
    registry.push_document("app:foreign", archive::OCI_INDEX, &index(&[&foreign])).await;
    let name = registry.name("app:foreign");
    let error = driver.ensure_image(&name, Pull::Missing).await.unwrap_err();
    is_refused(error, "not for this kind of machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_does_not_have_or_has_broken_is_refused() {
    let Some(lab) = Lab::start().await else { return };
    let Some(registry) = Registry::start(&lab, RegistryAuth::Anonymous).await else { return };
    let driver = lab.connect().await;
    let began = Instant::now();
    let error = driver.ensure_image(&registry.name("nope:1"), Pull::Missing).await.unwrap_err();
    is_refused(error, "has no image");
    assert!(began.elapsed().as_secs() < 2, "there is nothing to wait for");

    let image = marked("broken");
    registry.push("app:1", &image).await;
    let hex = archive::digest(&image.blobs[1]).replace("sha256:", "");
    let files = files_below(&registry.data);
    let file = files.iter().find(|f| f.ends_with(format!("{hex}/data"))).unwrap();
    let mut blob = fs::read(file).unwrap();
    let last = blob.len() - 1;
    blob[last] ^= 1;
    fs::write(file, blob).unwrap();
    let error = driver.ensure_image(&registry.name("app:1"), Pull::Missing).await.unwrap_err();
    is_refused(error, "cannot pull");
    assert_eq!(driver.images().await.unwrap(), []);
    assert_eq!(lab.ctr(&["leases", "ls", "-q"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_dockers_configuration() {
    let Some(lab) = Lab::start().await else { return };
    let auth = RegistryAuth::Basic("user".to_owned(), "secret".to_owned());
    let Some(registry) = Registry::start(&lab, auth).await else { return };
    registry.push("private:1", &marked("private")).await;
    let name = registry.name("private:1");
    let driver = lab.connect().await;
    let error = driver.ensure_image(&name, Pull::Missing).await.unwrap_err();
    is_refused(error, "docker login");

    // base64 of user:secret
    let auths = json!({ format!("127.0.0.1:{}", registry.port): { "auth": "dXNlcjpzZWNyZXQ=" } });
    fs::write(lab.path("config.json"), json!({ "auths": auths }).to_string()).unwrap();
    // The configuration is found by the environment, which a process cannot change safely.
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "pull::pulls_what_the_environment_names"])
        .env("DOCKER_CONFIG", lab.path(""))
        .env("PULL", name.as_str())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test of credentials"]
async fn pulls_what_the_environment_names() {
    let lab = Lab::start().await.unwrap();
    let driver = lab.connect().await;
    let name = std::env::var("PULL").unwrap().parse().unwrap();
    driver.ensure_image(&name, Pull::Missing).await.unwrap();
    assert_eq!(driver.images().await.unwrap()[0].name, name.as_str());
}
