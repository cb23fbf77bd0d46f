//! Who a task runs as: `user[:group]` looked up in the image's own files, as docker does.

use serde::Serialize;

/// As the OCI runtime spec has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
}

/// Says in a sentence what cannot be found. An empty `user` is root.
pub fn resolve(user: &str, passwd: &str, group: &str) -> Result<Ids, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd.lines().filter_map(passwd_entry).find(|entry| {
        entry.name == user || user.parse().is_ok_and(|number: u32| number == entry.uid)
    });
    let (uid, own_gid) = match (&entry, user.parse()) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Ok(number)) => (number, 0),
        (None, Err(_)) => return Err(format!("the image's /etc/passwd has no user {user:?}")),
    };
    let Some(wanted) = wanted_group else {
        let name = entry.map_or("", |entry| entry.name);
        let mut additional_gids = vec![own_gid];
        for entry in group.lines().filter_map(group_entry) {
            let is_member = entry.members.split(',').any(|member| member == name);
            if is_member && !name.is_empty() && !additional_gids.contains(&entry.gid) {
                additional_gids.push(entry.gid);
            }
        }
        return Ok(Ids { uid, gid: own_gid, additional_gids });
    };
    let named = group.lines().filter_map(group_entry).find(|entry| entry.name == wanted);
    let gid = match (named, wanted.parse()) {
        (Some(entry), _) => entry.gid,
        (None, Ok(number)) => number,
        (None, Err(_)) => return Err(format!("the image's /etc/group has no group {wanted:?}")),
    };
    Ok(Ids { uid, gid, additional_gids: vec![gid] })
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// `name:password:uid:gid:...`
fn passwd_entry(line: &str) -> Option<PasswdEntry<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(PasswdEntry { name, uid, gid })
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// `name:password:gid:member,member`
fn group_entry(line: &str) -> Option<GroupEntry<'_>> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some(GroupEntry { name, gid, members: fields.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\n\
        app:x:1000:1001::/home/app:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\ndata:x:50:app\n";

    fn ids(uid: u32, gid: u32, additional_gids: &[u32]) -> Ids {
        Ids { uid, gid, additional_gids: additional_gids.to_vec() }
    }

    #[test]
    fn users_go_by_name_and_number_and_bring_their_groups() {
        for (user, expected) in [
            ("", ids(0, 0, &[0, 10])),
            ("root", ids(0, 0, &[0, 10])),
            ("app", ids(1000, 1001, &[1001, 10, 50])),
            ("1000", ids(1000, 1001, &[1001, 10, 50])),
            ("app:data", ids(1000, 50, &[50])),
            ("app:7", ids(1000, 7, &[7])),
            ("4242", ids(4242, 0, &[0])),
            ("4242:4343", ids(4242, 4343, &[4343])),
        ] {
            assert_eq!(resolve(user, PASSWD, GROUP), Ok(expected), "{user:?}");
        }
    }

    #[test]
    fn numbers_need_no_files_and_unknown_names_are_refused() {
        assert_eq!(resolve("7:8", "", ""), Ok(ids(7, 8, &[8])));
        assert!(resolve("nobody", PASSWD, GROUP).unwrap_err().contains("\"nobody\""));
        assert!(resolve("app:nogroup", PASSWD, GROUP).unwrap_err().contains("\"nogroup\""));
    }
}
