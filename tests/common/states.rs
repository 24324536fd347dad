//! States that look like real ones, of any size, in pieces: nothing holds a whole one but who asks for it. The layout is
//! that of OpenTofu's `statefile` version 4 (`MarshalIndent` with two blanks); names repeat as they do in a cloud
//! account, ids, keys and sums are random, so that it compresses about as well as states do. The same numbers give
//! the same bytes.
#![allow(dead_code, reason = "each binary uses a part of it")]

use std::fmt::Write as _;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// One in so many resources changes from one serial to the next.
const CHANGING: u64 = 8;
const END: &str = "\n  ],\n  \"check_results\": null\n}\n";
const TEAMS: [&str; 6] = ["payments", "search", "identity", "billing", "platform", "warehouse"];
const REGIONS: [&str; 4] = ["eu-central-1", "eu-west-1", "us-east-1", "ap-southeast-2"];

/// A whole state of at most `size` bytes, less by no more than a resource.
pub(crate) fn whole(seed: u64, serial: u64, size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(size);
    for piece in Pieces::new(seed, serial, size as u64) {
        body.extend_from_slice(piece.as_bytes());
    }
    body
}

/// A state in pieces, each a resource or so.
pub(crate) struct Pieces {
    seed: u64,
    serial: u64,
    /// Bytes that may still come, the end not counted.
    left: u64,
    index: u64,
    ended: bool,
}

impl Pieces {
    /// A state of at most `size` bytes. `seed` is which state, `serial` how often it was written: most of two successive
    /// ones is the same.
    pub(crate) fn new(seed: u64, serial: u64, size: u64) -> Self {
        Self { seed, serial, left: size.saturating_sub(END.len() as u64), index: 0, ended: false }
    }
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let index = self.index;
        let piece = if index == 0 { begin(self.seed, self.serial) } else { self.resource(index) };
        if index > 0 && piece.len() as u64 > self.left {
            self.ended = true;
            return Some(END.to_owned());
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.index += 1;
        Some(piece)
    }
}

impl Pieces {
    fn resource(&self, index: u64) -> String {
        let rng = StdRng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index);
        // The last serial that changed this resource.
        let changed = self.serial - (self.serial.wrapping_sub(index) % CHANGING).min(self.serial);
        let mut draw = Draw { rng, index, changed };
        let (kind, provider, attributes) = match index % 8 {
            0 | 5 => ("aws_instance", "aws", draw.instance()),
            1 | 6 => ("aws_security_group", "aws", draw.security_group()),
            2 => ("aws_iam_role", "aws", draw.role()),
            3 => ("aws_s3_bucket", "aws", draw.bucket()),
            4 => ("kubernetes_config_map_v1", "kubernetes", draw.config_map()),
            7 if index % 16 == 15 => ("tls_private_key", "tls", draw.key()),
            _ => ("aws_route53_record", "aws", draw.record()),
        };
        let name = format!("{}_{}", draw.team(), index / 8);
        let comma = if index == 1 { "" } else { "," };
        let private = draw.base64(24);
        format!(
            r#"{comma}
    {{
      "module": "module.{team}",
      "mode": "managed",
      "type": "{kind}",
      "name": "{name}",
      "provider": "provider[\"registry.opentofu.org/hashicorp/{provider}\"]",
      "instances": [
        {{
          "schema_version": 1,
          "attributes": {{
{attributes}
          }},
          "sensitive_attributes": [],
          "private": "{private}",
          "dependencies": [
            "module.{team}.aws_vpc.main",
            "module.{team}.data.aws_caller_identity.current"
          ]
        }}
      ]
    }}"#,
            team = draw.team(),
        )
    }
}

fn begin(seed: u64, serial: u64) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let [a, b] = [rng.random::<u64>(), rng.random::<u64>()];
    format!(
        r#"{{
  "version": 4,
  "terraform_version": "1.12.6",
  "serial": {serial},
  "lineage": "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
  "outputs": {{
    "endpoint": {{
      "value": "https://{:x}.example.internal:8443/v1",
      "type": "string"
    }}
  }},
  "resources": ["#,
        a >> 32,
        a & 0xffff,
        b & 0xfff,
        (b >> 12) & 0xfff,
        b >> 16,
        a >> 40,
    )
}

/// What one resource is drawn from.
struct Draw {
    rng: StdRng,
    index: u64,
    changed: u64,
}

impl Draw {
    fn team(&self) -> &'static str {
        TEAMS[(self.index / 40) as usize % TEAMS.len()]
    }

    fn region(&self) -> &'static str {
        REGIONS[(self.index / 200) as usize % REGIONS.len()]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.rng.random_range(0..16)])).collect()
    }

    fn base64(&mut self, characters: usize) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..characters).map(|_| char::from(DIGITS[self.rng.random_range(0..64)])).collect()
    }

    /// A sum that is another after each change.
    fn etag(&mut self) -> String {
        let mut rng = StdRng::seed_from_u64(self.index << 32 ^ self.changed);
        format!("{:032x}", rng.random::<u128>())
    }

    fn tags(&self, indent: &str) -> String {
        let team = self.team();
        format!(
            "{indent}\"tags\": {{\n{indent}  \"CostCenter\": \"cc-{}\",\n{indent}  \"Environment\": \"production\",\n{indent}  \"ManagedBy\": \"opentofu\",\n{indent}  \"Name\": \"{team}-{:04}\",\n{indent}  \"Team\": \"{team}\"\n{indent}}}",
            1000 + self.index / 40 % 50,
            self.index,
        )
    }

    fn instance(&mut self) -> String {
        let (id, eni, subnet, ami) = (self.hex(17), self.hex(17), self.hex(17), self.hex(17));
        let (region, tags, modified) = (self.region(), self.tags("            "), self.etag());
        let [a, b] = [self.rng.random::<u8>(), self.rng.random::<u8>()];
        format!(
            r#"            "ami": "ami-{ami}",
            "arn": "arn:aws:ec2:{region}:418273650912:instance/i-{id}",
            "associate_public_ip_address": false,
            "availability_zone": "{region}a",
            "capacity_reservation_specification": [
              {{
                "capacity_reservation_preference": "open",
                "capacity_reservation_target": []
              }}
            ],
            "disable_api_termination": false,
            "ebs_block_device": [],
            "ebs_optimized": true,
            "iam_instance_profile": "{team}-instance",
            "id": "i-{id}",
            "instance_state": "running",
            "instance_type": "m7g.large",
            "ipv6_addresses": [],
            "key_name": null,
            "monitoring": true,
            "primary_network_interface_id": "eni-{eni}",
            "private_dns": "ip-10-20-{a}-{b}.{region}.compute.internal",
            "private_ip": "10.20.{a}.{b}",
            "root_block_device": [
              {{
                "delete_on_termination": true,
                "encrypted": true,
                "iops": 3000,
                "kms_key_id": "arn:aws:kms:{region}:418273650912:key/8d2f1f0e-54b1-4c3e-9f60-0a4c2b7f9d11",
                "throughput": 125,
                "volume_size": 50,
                "volume_type": "gp3"
              }}
            ],
            "subnet_id": "subnet-{subnet}",
{tags},
            "tenancy": "default",
            "timeouts": null,
            "user_data": "{modified}",
            "user_data_replace_on_change": false"#,
            team = self.team(),
        )
    }

    fn security_group(&mut self) -> String {
        let (id, vpc, region, tags) = (self.hex(17), self.hex(17), self.region(), self.tags("            "));
        let mut rules = String::new();
        for rule in 0..self.rng.random_range(1..4) {
            let port = [443, 5432, 6379, 8443, 9090][self.rng.random_range(0..5)];
            let comma = if rule == 0 { "" } else { ",\n" };
            let _ = write!(
                rules,
                r#"{comma}              {{
                "cidr_blocks": [
                  "10.{}.0.0/16"
                ],
                "description": "from {}",
                "from_port": {port},
                "ipv6_cidr_blocks": [],
                "prefix_list_ids": [],
                "protocol": "tcp",
                "security_groups": [],
                "self": false,
                "to_port": {port}
              }}"#,
                self.rng.random_range(0..64),
                TEAMS[self.rng.random_range(0..TEAMS.len())],
            );
        }
        format!(
            r#"            "arn": "arn:aws:ec2:{region}:418273650912:security-group/sg-{id}",
            "description": "Managed by OpenTofu, change {changed}",
            "egress": [],
            "id": "sg-{id}",
            "ingress": [
{rules}
            ],
            "name": "{team}-{index}",
            "name_prefix": "",
            "owner_id": "418273650912",
            "revoke_rules_on_delete": false,
{tags},
            "timeouts": null,
            "vpc_id": "vpc-{vpc}""#,
            changed = self.changed,
            team = self.team(),
            index = self.index,
        )
    }

    fn role(&mut self) -> String {
        let (id, tags, team, index) = (
            self.base64(17).to_uppercase().replace(['+', '/'], "X"),
            self.tags("            "),
            self.team(),
            self.index,
        );
        format!(
            r#"            "arn": "arn:aws:iam::418273650912:role/{team}-{index}",
            "assume_role_policy": "{{\"Statement\":[{{\"Action\":\"sts:AssumeRole\",\"Effect\":\"Allow\",\"Principal\":{{\"Service\":\"ec2.amazonaws.com\"}},\"Sid\":\"{team}{index}\"}}],\"Version\":\"2012-10-17\"}}",
            "create_date": "2026-0{month}-1{day}T09:{minute}:07Z",
            "description": "",
            "force_detach_policies": false,
            "id": "{team}-{index}",
            "inline_policy": [],
            "managed_policy_arns": [
              "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore",
              "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"
            ],
            "max_session_duration": 3600,
            "name": "{team}-{index}",
            "path": "/",
            "permissions_boundary": "",
{tags},
            "unique_id": "AROA{id}""#,
            month = 1 + index % 9,
            day = self.changed % 10,
            minute = 10 + index % 50,
        )
    }

    fn bucket(&mut self) -> String {
        let (name, zone, region, tags) = (self.hex(12), self.base64(14), self.region(), self.tags("            "));
        let team = self.team();
        format!(
            r#"            "acceleration_status": "",
            "arn": "arn:aws:s3:::{team}-{name}",
            "bucket": "{team}-{name}",
            "bucket_domain_name": "{team}-{name}.s3.amazonaws.com",
            "bucket_regional_domain_name": "{team}-{name}.s3.{region}.amazonaws.com",
            "force_destroy": false,
            "grant": [],
            "hosted_zone_id": "{zone}",
            "id": "{team}-{name}",
            "lifecycle_rule": [],
            "logging": [],
            "region": "{region}",
            "request_payer": "BucketOwner",
            "server_side_encryption_configuration": [
              {{
                "rule": [
                  {{
                    "apply_server_side_encryption_by_default": [
                      {{
                        "kms_master_key_id": "",
                        "sse_algorithm": "AES256"
                      }}
                    ],
                    "bucket_key_enabled": false
                  }}
                ]
              }}
            ],
{tags},
            "versioning": [
              {{
                "enabled": true,
                "mfa_delete": false
              }}
            ]"#
        )
    }

    fn config_map(&mut self) -> String {
        let (uid, etag, team, index) = (self.hex(32), self.etag(), self.team(), self.index);
        let mut data = String::new();
        for key in ["log_level", "database_host", "cache_host", "queue_url", "feature_flags"] {
            let random = self.hex(10);
            let _ = writeln!(
                data,
                "              \"{key}.yaml\": \"# {team}\\nname: {key}\\nvalue: {random}\\nowner: {team}\\n\","
            );
        }
        format!(
            r#"            "binary_data": {{}},
            "data": {{
{data}              "checksum": "{etag}"
            }},
            "id": "{team}/settings-{index}",
            "immutable": false,
            "metadata": [
              {{
                "annotations": {{}},
                "generate_name": "",
                "generation": 0,
                "labels": {{
                  "app.kubernetes.io/managed-by": "opentofu",
                  "app.kubernetes.io/part-of": "{team}"
                }},
                "name": "settings-{index}",
                "namespace": "{team}",
                "resource_version": "{version}",
                "uid": "{uid}"
              }}
            ]"#,
            version = 100_000 + self.changed * 31 + index,
        )
    }

    fn key(&mut self) -> String {
        let [mut private, mut public] = [String::new(), String::new()];
        for _ in 0..27 {
            private += &self.base64(64);
            private += "\\n";
        }
        for _ in 0..6 {
            public += &self.base64(64);
            public += "\\n";
        }
        let (id, etag) = (self.hex(40), self.etag());
        format!(
            r#"            "algorithm": "RSA",
            "ecdsa_curve": "P224",
            "id": "{id}",
            "private_key_pem": "-----BEGIN RSA PRIVATE KEY-----\n{private}-----END RSA PRIVATE KEY-----\n",
            "public_key_fingerprint_md5": "{etag}",
            "public_key_pem": "-----BEGIN PUBLIC KEY-----\n{public}-----END PUBLIC KEY-----\n",
            "rsa_bits": 2048"#
        )
    }

    fn record(&mut self) -> String {
        let (zone, team, index) = (self.base64(20).to_uppercase().replace(['+', '/'], "Z"), self.team(), self.index);
        let [a, b] = [self.rng.random::<u8>(), self.rng.random::<u8>()];
        format!(
            r#"            "alias": [],
            "allow_overwrite": null,
            "fqdn": "{team}-{index}.example.internal",
            "health_check_id": "",
            "id": "{zone}_{team}-{index}.example.internal_A",
            "multivalue_answer_routing_policy": false,
            "name": "{team}-{index}.example.internal",
            "records": [
              "10.20.{a}.{b}"
            ],
            "set_identifier": "",
            "ttl": {ttl},
            "type": "A",
            "zone_id": "{zone}""#,
            ttl = 60 + self.changed,
        )
    }
}
