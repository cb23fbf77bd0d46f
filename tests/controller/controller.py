"""Another controller, in another language: it creates a service through the API, watches it fail
and recover, and posts a verdict of its own. Usage: controller.py SOCKET WORK_DIR, with the stubs
of proto/ on PYTHONPATH."""

import pathlib
import sys
import threading

import grpc
from google.protobuf.duration_pb2 import Duration
from warren.v1 import api_pb2, api_pb2_grpc, check_pb2, health_pb2, service_pb2

LIMIT = 60


def milliseconds(count):
    duration = Duration()
    duration.FromMilliseconds(count)
    return duration


def spec(work):
    """Two processes that serve a directory each; python serves them as well as it can."""
    serve = (
        f'dir={work}/$WARREN_TASK_ID; mkdir -p "$dir"; echo ok >"$dir/health"; '
        'exec python3 -m http.server --bind "$WARREN_TASK_IP" -d "$dir" 8080'
    )
    check = check_pb2.Check(
        http=check_pb2.HttpCheck(port=8080, path="/health"),
        timing=check_pb2.Timing(period=milliseconds(300), timeout=milliseconds(5000), failures=3),
    )
    startup = check_pb2.Check(tcp=check_pb2.TcpCheck(port=8080))
    checks = check_pb2.Checks(startup=startup, liveness=check, readiness=check)
    template = service_pb2.TaskTemplate(
        command=["/bin/sh", "-c", serve], health=check_pb2.HealthConfig(checks=checks)
    )
    return service_pb2.ServiceSpec(name="from-python", replicas=2, template=template)


class Watch:
    """Follows WatchHealth in a thread of its own, and waits for predicates over what it knows."""

    def __init__(self, stub, service, from_revision=None):
        self.entries, self.revision, self.changed = {}, 0, threading.Condition()
        request = api_pb2.WatchHealthRequest(service=service, from_revision=from_revision)
        self.stream = stub.WatchHealth(request)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        try:
            for response in self.stream:
                with self.changed:
                    self._take(response)
                    self.changed.notify_all()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                raise

    def _take(self, response):
        assert response.revision >= self.revision, "revisions only grow"
        self.revision = response.revision
        kind = response.WhichOneof("update")
        if kind == "snapshot":
            self.entries = {entry.task_id: entry for entry in response.snapshot.entries}
        elif kind == "changed":
            self.entries[response.changed.task_id] = response.changed
        elif kind == "removed_task_id":
            self.entries.pop(response.removed_task_id, None)

    def wait(self, what, predicate):
        with self.changed:
            ok = self.changed.wait_for(lambda: predicate(self.entries.values()), LIMIT)
            assert ok, f"waited for {what}; last seen: {list(self.entries.values())}"
            print(f"seen: {what}")


def ready(entries):
    return {entry.slot for entry in entries if entry.health.ready}


def expect(code, call, *arguments):
    try:
        call(*arguments)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"expected {code}")


def main():
    socket, work = sys.argv[1], sys.argv[2]
    # Without a name of its own, gRPC's C core makes one of the socket's path that HTTP/2 forbids.
    options = [("grpc.default_authority", "localhost")]
    channel = grpc.insecure_channel(f"unix:{socket}", options=options)
    services = api_pb2_grpc.ServicesStub(channel)
    health = api_pb2_grpc.HealthApiStub(channel)

    bad = spec(work)
    bad.template.health.checks.liveness.http.port = 70000
    why = expect(
        grpc.StatusCode.INVALID_ARGUMENT, services.Create, api_pb2.CreateServiceRequest(spec=bad)
    )
    assert "spec.template.health.checks.liveness.http.port" in why, why

    created = services.Create(api_pb2.CreateServiceRequest(spec=spec(work)))
    assert created.service.revision == 1
    again = api_pb2.CreateServiceRequest(spec=spec(work))
    expect(grpc.StatusCode.ALREADY_EXISTS, services.Create, again)

    watch = Watch(health, "from-python")
    watch.wait("both slots ready", lambda entries: ready(entries) == {1, 2})
    broken = next(entry for entry in watch.entries.values() if entry.slot == 1)
    pathlib.Path(work, broken.task_id, "health").unlink()
    watch.wait(
        "slot 1 failing",
        lambda entries: any(
            entry.task_id == broken.task_id
            and entry.health.status == health_pb2.HEALTH_STATUS_UNHEALTHY
            and "404" in entry.health.reason
            for entry in entries
        ),
    )
    watch.wait(
        "slot 1 recovered with another task",
        lambda entries: ready(entries) == {1, 2}
        and not any(entry.task_id == broken.task_id and entry.health.ready for entry in entries),
    )

    resumed = Watch(health, "from-python", from_revision=watch.revision)
    accused = next(
        entry for entry in watch.entries.values() if entry.slot == 2 and entry.health.ready
    )
    report = api_pb2.ReportTaskHealthRequest(
        task=accused.task_id,
        reporter="python-controller",
        role=check_pb2.ROLE_READINESS,
        verdict=health_pb2.VERDICT_FAILING,
        reason="its ledger differs",
        ttl=milliseconds(2000),
    )
    effective = health.ReportTaskHealth(report).effective
    assert not effective.ready and "its ledger differs" in effective.reason, effective
    resumed.wait(
        "the accusation",
        lambda entries: any(e.task_id == accused.task_id and not e.health.ready for e in entries),
    )
    resumed.wait(
        "its end after two seconds, in the same task",
        lambda entries: any(e.task_id == accused.task_id and e.health.ready for e in entries),
    )
    report.role, report.ttl.seconds = check_pb2.ROLE_LIVENESS, 60
    health.ReportTaskHealth(report)
    watch.wait(
        "slot 2 replaced for another controller's verdict",
        lambda entries: ready(entries) == {1, 2}
        and not any(e.task_id == accused.task_id and e.health.ready for e in entries),
    )
    listed = health.ListHealth(api_pb2.ListHealthRequest(service="from-python"))
    assert ready(listed.entries) == {1, 2}
    services.Delete(api_pb2.DeleteServiceRequest(service="from-python"))
    watch.wait("nothing left", lambda entries: not entries)
    unknown = api_pb2.GetHealthRequest(task=accused.task_id)
    expect(grpc.StatusCode.NOT_FOUND, health.GetHealth, unknown)
    print("done")


main()
