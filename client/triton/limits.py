"""How many slices fit a request: what server, messages and byte budget allow, known before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from swinunet.client.triton.options import ServerOptions
from swinunet.foundation.errors import ServerError
from swinunet.imaging import ModelSpec
from swinunet.imaging.study_slices import Output

BATCH = 8  # slices a request, where everything allows as many
_ENVELOPE_BYTES = 4096  # names, shapes and parameters around the tensors, generously


@dataclass(frozen=True)
class RequestSize:
    """Bytes of one slice of a model's image and of what is asked for in return."""

    image_bytes: int
    answer_bytes: int

    @staticmethod
    def of(spec: ModelSpec, output: Output) -> RequestSize:
        """By the wire contract: image float16 [C, H, W]; labels uint8 [H, W] or probabilities float16 [K, H, W]."""
        pixels = spec.input_size[0] * spec.input_size[1]
        answer = pixels if output == "labels" else 2 * spec.num_classes * pixels
        return RequestSize(2 * spec.in_channels * pixels, answer)

    @property
    def slice_bytes(self) -> int:
        """What a slice under way takes of the budget."""
        return self.image_bytes + self.answer_bytes

    def largest_batch(self, options: ServerOptions) -> int:
        """Slices that fit one message each way. Raises ServerError if not even one does."""
        longest = max(self.image_bytes, self.answer_bytes)
        slices = (options.max_message_bytes - _ENVELOPE_BYTES) // longest
        if slices < 1:
            raise ServerError(
                f"one slice is a message of {longest} bytes, messages may have {options.max_message_bytes} "
                f"({_ENVELOPE_BYTES} of them around the tensor); allow larger ones, here (--max-message) and on the way"
            )
        return int(slices)

    def batch(self, options: ServerOptions, max_batch_size: int) -> int:
        """Slices to send in one request: as many as the server, the messages and the budget allow, up to BATCH."""
        affordable = max(1, options.budget_bytes // self.slice_bytes)
        return min(BATCH, max_batch_size or 1, self.largest_batch(options), affordable)
