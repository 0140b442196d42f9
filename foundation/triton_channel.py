"""How gRPC channels to Triton are set up, and what a request's image is called: the same for every caller.

Only data: who imports this need not have gRPC.
"""

from __future__ import annotations

MAX_MESSAGE_BYTES = 2**31 - 1  # what Triton takes and gRPC can count; gRPC's own default is 4 MB
IMAGE_INPUT, IMAGE_TYPE = "image", "FP16"  # the one input, float16 [B, C, H, W], and Triton's name of its type


# Of a channel to several servers: each request goes to the next of those that are connected; one that is gone is tried
# again less often than a single one would be, as all clients of a service do it; and its name is looked up anew.
_SEVERAL_SERVERS = {
    "grpc.max_reconnect_backoff_ms": 10_000,
    "grpc.dns_min_time_between_resolutions_ms": 5_000,
}
_ROUND_ROBIN = ("grpc.lb_policy_name", "round_robin")


def balanced_channel_options(max_message_bytes: int = MAX_MESSAGE_BYTES) -> list[tuple[str, int | str]]:
    """`channel_options` for an address that stands for several servers."""
    options: dict[str, int | str] = {**dict(channel_options(max_message_bytes)), **_SEVERAL_SERVERS}
    return [*options.items(), _ROUND_ROBIN]


def channel_options(max_message_bytes: int = MAX_MESSAGE_BYTES) -> list[tuple[str, int]]:
    """Arguments of a gRPC channel (`channel_args` of `tritonclient.grpc.InferenceServerClient`)."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.enable_http_proxy", 0),  # a proxy in the environment would catch loopback and the hospital's own network
        ("grpc.initial_reconnect_backoff_ms", 200),  # by default a server that is back is found after up to 2 minutes
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
