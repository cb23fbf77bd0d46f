//! Images from archives.

use std::{fs, time::Duration};

use serde_json::json;
use warren_core::{
    check::{CheckKind, Checks},
    spec::{Pull, StopSignal},
};
use warren_runtime::{ImageFacts, Runtime, RuntimeError};

use crate::lab::{
    BUSYBOX, Lab,
    archive::{self, Compression},
    image, output,
};

fn is_refused(error: RuntimeError, expected: &str) {
    let RuntimeError::Refused(reason) = error else { panic!("{error}") };
    assert!(reason.contains(expected), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_of_all_kinds_become_images_that_run() {
    let Some(lab) = Lab::start().await else { return };
    let driver = lab.connect().await;
    let none = json!({});
    let oci = |mark: &str, compression, annotation: &str| {
        let image = archive::image(mark, &json!({}), &compression);
        archive::layout(&image, &json!({ annotation: mark }))
    };
    let full = "io.containerd.image.name";
    let short = "org.opencontainers.image.ref.name";
    for (name, archive) in [
        ("docker.io/library/plain:1", oci("plain:1", Compression::None, full)),
        ("docker.io/library/gzip:1", oci("gzip:1", Compression::Gzip, full)),
        ("docker.io/library/zstd:1", oci("zstd:1", Compression::Zstd, full)),
        ("example.org/ref:latest", oci("example.org/ref", Compression::None, short)),
        ("docker.io/library/old:2", archive::docker(&["old:2"], &none)),
        ("docker.io/library/whole:latest", archive::gzip(&oci("whole", Compression::None, full))),
    ] {
        let path = lab.path("image.tar");
        fs::write(&path, archive).unwrap();
        let imported = driver.import(path).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(imported.iter().map(|image| &image.name).collect::<Vec<_>>(), [name]);
        assert!(imported[0].size_bytes > 100_000 && imported[0].updated_at.as_millis() > 0);
        let facts = driver.ensure_image(&name.parse().unwrap(), Pull::Never).await.unwrap();
        assert_eq!(facts, ImageFacts::default());
        let (task, _) = lab.run(&driver, |template| template.workload = image(name)).await;
        assert!(!output(&driver, task, "cat /etc/mark").await.is_empty());
        driver.delete(task).await.unwrap();
    }
    assert_eq!(driver.images().await.unwrap().len(), 6);
    assert_eq!(lab.ctr(&["leases", "ls", "-q"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_image_for_this_machine_is_taken() {
    let Some(lab) = Lab::start().await else { return };
    let driver = lab.connect().await;
    let ours = archive::image("ours", &json!({}), &Compression::Gzip);
    let mut entry = archive::descriptor(archive::OCI_MANIFEST, &ours.manifest);
    entry["platform"] = json!({ "os": "linux", "architecture": archive::architecture() });
    let mut other = archive::descriptor(archive::OCI_MANIFEST, b"not in the archive");
    other["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    let index = json!({
        "schemaVersion": 2, "mediaType": archive::OCI_INDEX, "manifests": [other, entry],
    });
    let index = index.to_string().into_bytes();
    let mut top = archive::descriptor(archive::OCI_INDEX, &index);
    top["annotations"] = json!({ "io.containerd.image.name": BUSYBOX });
    let blobs = ours.blobs.iter().chain([&ours.manifest, &ours.config, &index]);
    lab.import(&driver, &archive::layout_of(&[top], blobs.map(Vec::as_slice))).await;
    collect_garbage(&lab);
    assert_eq!(driver.images().await.unwrap()[0].digest, archive::digest(&index));
    let (task, _) = lab.run(&driver, |_| {}).await;
    assert_eq!(output(&driver, task, "cat /etc/mark").await, "ours");
}

fn collect_garbage(lab: &Lab) {
    lab.ctr(&["leases", "create", "--id", "now"]);
    lab.ctr(&["leases", "rm", "--sync", "now"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_survives_the_garbage_collector() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let (task, _) = lab.run(&driver, |_| {}).await;
    driver.delete(task).await.unwrap();
    collect_garbage(&lab);
    let (task, _) = lab.run(&driver, |_| {}).await;
    collect_garbage(&lab);
    assert_eq!(output(&driver, task, "cat /etc/mark").await, BUSYBOX);
    let check = lab.ctr(&["images", "check"]);
    assert!(check.contains("complete (3/3)") && check.contains("true"), "{check}");
}

#[tokio::test(flavor = "multi_thread")]
async fn importing_again_gives_the_name_to_the_new_image() {
    let Some((lab, driver)) = Lab::with_image().await else { return };
    let before = driver.images().await.unwrap();
    lab.import(&driver, &archive::oci(BUSYBOX, &json!({ "Env": ["NEW=1"] }))).await;
    let after = driver.images().await.unwrap();
    assert_eq!(after.len(), 1);
    assert_ne!(after[0].digest, before[0].digest);
    lab.import(&driver, &archive::oci(BUSYBOX, &json!({ "Env": ["NEW=1"] }))).await;
    assert_eq!(driver.images().await.unwrap()[0].digest, after[0].digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_and_leaves_nothing() {
    let Some(lab) = Lab::start().await else { return };
    let driver = lab.connect().await;
    let good = archive::image("good", &json!({}), &Compression::None);
    let named = json!({ "io.containerd.image.name": "good:1" });
    let mut broken = archive::layout(&good, &named);
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    let mut foreign = archive::image("foreign", &json!({}), &Compression::None);
    foreign.blobs.swap(0, 1);
    for (archive, expected) in [
        (b"no archive at all".to_vec(), "not a tar archive"),
        (Vec::new(), "neither an OCI image layout"),
        (archive::layout(&good, &json!({})), "has a name"),
        (archive::layout(&good, &json!({ "org.opencontainers.image.ref.name": "1" })), "a name"),
        (archive::layout(&good, &json!({ "io.containerd.image.name": "A B" })), "its name"),
        (broken, "unexpected commit digest"),
    ] {
        let path = lab.path("image.tar");
        fs::write(&path, archive).unwrap();
        is_refused(driver.import(path).await.unwrap_err(), expected);
        assert_eq!(driver.images().await.unwrap(), []);
        assert_eq!(lab.ctr(&["leases", "ls", "-q"]), "");
    }
    is_refused(driver.import(lab.path("absent.tar")).await.unwrap_err(), "No such file");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_images_own_health_check_and_stop_signal_are_known() {
    let Some(lab) = Lab::start().await else { return };
    let driver = lab.connect().await;
    let config = json!({
        "StopSignal": "SIGQUIT",
        "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 2_000_000_000_u64 },
    });
    lab.import(&driver, &archive::oci(BUSYBOX, &config)).await;
    let facts = driver.ensure_image(&BUSYBOX.parse().unwrap(), Pull::Missing).await.unwrap();
    assert_eq!(facts.stop_signal.map(StopSignal::number), Some(3));
    let Some(Checks { liveness: Some(check), .. }) = facts.checks else { panic!("no check") };
    assert_eq!(check.timing.period.get(), Duration::from_secs(2));
    let CheckKind::Exec(exec) = check.kind else { panic!("not exec") };
    assert_eq!(exec.command.words(), ["/bin/sh", "-c", "true"]);
}
