"""A variable of ours changes, adds to or switches off what the cloud block's variables make.

Covers: edgerouter.cloudblock.tree, edgerouter.config.overlay.
"""

from __future__ import annotations

from pathlib import Path

from edgerouter import plugins
from support.cloud_variables import INFLUXDB, ROWS, SQS, load, only_sink, problems


class TestMixing:
    def test_our_own_variables_change_what_the_old_ones_made(self) -> None:
        config = load(
            {
                **SQS,
                "EDGEROUTER__SINKS__AWS_SQS__BATCH__LINGER": "2s",
                "EDGEROUTER__SINKS__AWS_SQS__ENDPOINT_URL": "http://localhost:1",
                "EDGEROUTER__SOURCES__LOCAL__QOS": "2",
                "EDGEROUTER__SPOOL__PATH": "/data",
            }
        )
        sink = only_sink(config)
        assert (sink.policies.batch.linger, sink.raw["endpoint_url"]) == (2.0, "http://localhost:1")
        assert config.sources[0].config.qos == 2  # type: ignore[attr-defined]
        assert config.spool.path == Path("/data")

    def test_our_own_variable_may_give_what_the_old_ones_lack(self) -> None:
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_REGION"}
        config = load({**left, "EDGEROUTER__SINKS__AWS_SQS__REGION": "eu-north-1"})
        assert (only_sink(config).raw["region"], config.off) == ("eu-north-1", ())

    def test_our_own_variables_alone_switch_a_sink_on_or_say_what_is_missing(self) -> None:
        """Users need not know which of the two names a value goes by."""
        own = {f"EDGEROUTER__SINKS__AWS_SQS__{field.upper()}": value for field, value in ROWS[0][2].items()}
        assert only_sink(load({**own, "RELAY_OUT_TOPIC": "x"})).raw == ROWS[0][2]
        del own["EDGEROUTER__SINKS__AWS_SQS__REGION"], own["EDGEROUTER__SINKS__AWS_SQS__ACCESS_KEY_ID"]
        config = load({**own, **INFLUXDB})
        (line,) = config.off
        assert line == (
            "sink aws-sqs is off: EDGEROUTER__SINKS__AWS_SQS__QUEUE and EDGEROUTER__SINKS__AWS_SQS__SECRET_ACCESS_KEY are set,"
            " AWS_SQS_REGION and AWS_SQS_ACCESS_KEY are missing"
        )
        assert only_sink(config).name == "influxdb"

    def test_one_underscore_too_few_is_reported(self) -> None:
        (line,) = problems({**SQS, "EDGEROUTER_SPOOL__MAX_BYTES": "1GiB", "EDGEROUTER_PORT_8080_TCP": "tcp://10.0.0.1:8080"})
        assert line.startswith(
            "EDGEROUTER_SPOOL__MAX_BYTES: means nothing; a variable of the configuration begins with EDGEROUTER__"
        )

    def test_a_dash_and_an_underscore_name_the_same_sink(self) -> None:
        own = {"EDGEROUTER__SINKS__plant-log__TYPE": "stdout", "EDGEROUTER__SINKS__PLANT_LOG__FRAMING": "raw-lines"}
        assert only_sink(load({**own, "RELAY_OUT_TOPIC": "x"})).raw == {"framing": "raw-lines"}

    def test_a_list_that_is_none_is_reported_how_it_is_written(self) -> None:
        (line,) = problems({**SQS, "EDGEROUTER__SINKS__AWS_SQS__TOPICS": "a/b,c/#"})
        assert line.endswith("""sinks.aws-sqs.topics: should be a list in JSON, such as '["a/b", "c/#"]'""")

    def test_without_any_sink_both_ways_to_set_one_up_are_named(self) -> None:
        (line,) = problems({"RELAY_OUT_TOPIC": "x", "EDGEROUTER__SINKS__AWS_SQS__BATCH__LINGER": "1s"})
        assert line.startswith("environment: sinks: at least one sink is needed; there is no edgerouter.yaml here")
        assert line.endswith("no variables set one up, neither EDGEROUTER__SINKS__..., nor those of a plugin")

    def test_tuning_of_a_sink_that_is_off_stops_nothing(self) -> None:
        config = load({**SQS, "AWS_S3_BUCKET": "b", "EDGEROUTER__SINKS__AWS_S3__BATCH__LINGER": "1s"})
        assert only_sink(config).name == "aws-sqs"
        assert len(config.off) == 1

    def test_a_file_says_everything_so_the_old_variables_count_for_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "edgerouter.yaml"
        file.write_text("sources: {s: {type: mqtt, url: mqtt://b, topics: [a]}}\nsinks: {k: {type: stdout}}\n")
        config = plugins.load(file, {**SQS, "RELAY_OUT_TOPIC": "x"})
        assert ([sink.name for sink in config.sinks], len(config.sources)) == (["k"], 1)

    def test_a_variable_is_taken_as_it_stands(self) -> None:
        """A secret with `${` in it is not a reference."""
        sink = only_sink(load({**SQS, "AWS_SQS_SECRET_KEY": "a${env:HOME}$${b"}))
        assert sink.raw["secret_access_key"] == "a${env:HOME}$${b"

    def test_an_empty_variable_counts_as_not_set(self) -> None:
        assert load({**SQS, "AWS_S3_BUCKET": " ", "AWS_S3_REGION": ""}).off == ()

    def test_files_of_the_secrets_folder_stand_for_variables(self, tmp_path: Path) -> None:
        (tmp_path / "aws_sqs_secret_key").write_text("from-file\n")
        (tmp_path / "EDGEROUTER__SPOOL__MAX_BYTES").write_text("2GiB\n")
        (tmp_path / "AWS_SQS_REGION").write_text("never: the variable wins\n")
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_SECRET_KEY"}
        config = load({**left, "EDGEROUTER_SECRETS_DIR": str(tmp_path)})
        assert only_sink(config).raw == {**ROWS[0][2], "secret_access_key": "from-file"}
        assert config.spool.max_bytes == 2 * 1024**3
        assert config.origins["sinks.aws-sqs.secret_access_key"] == f"{tmp_path}/AWS_SQS_SECRET_KEY"

    def test_other_files_of_the_secrets_folder_are_let_be(self, tmp_path: Path) -> None:
        """Kubernetes puts links and folders of its own there, and certificates lie beside passwords."""
        (tmp_path / "..2026_11_21").mkdir()
        (tmp_path / "..2026_11_21" / "AWS_SQS_SECRET_KEY").write_text("from-file\n")
        (tmp_path / "..data").symlink_to("..2026_11_21")
        (tmp_path / "AWS_SQS_SECRET_KEY").symlink_to("..data/AWS_SQS_SECRET_KEY")
        (tmp_path / "vault.p12").write_bytes(b"\xff\xfe")
        (tmp_path / "certificate").write_bytes(b"\xff\xfe")
        left = {name: value for name, value in SQS.items() if name != "AWS_SQS_SECRET_KEY"}
        config = load({**left, "EDGEROUTER_SECRETS_DIR": str(tmp_path)})
        assert only_sink(config).raw == {**ROWS[0][2], "secret_access_key": "from-file"}

    def test_a_secrets_folder_that_is_not_there_is_reported(self, tmp_path: Path) -> None:
        assert problems({**SQS, "EDGEROUTER_SECRETS_DIR": str(tmp_path / "x")}) == [
            f"EDGEROUTER_SECRETS_DIR: {tmp_path / 'x'} is not there"
        ]
