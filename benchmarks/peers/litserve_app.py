"""LitServe, with the batches that it makes: `python litserve_app.py PORT`."""

import base64
import sys

import litserve
import numpy as np


class Classifier(litserve.LitAPI):
    """Takes an image as base64 in JSON, since LitServe hands requests to another process."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        import model

        self.model = model

    def decode_request(self, request: dict) -> np.ndarray:
        """Return the pixels of one image."""
        return self.model.decode(base64.b64decode(request["image"]))

    def batch(self, inputs: list) -> np.ndarray:
        """Put images together."""
        return np.stack(inputs)

    def predict(self, images: np.ndarray) -> list:
        """Answer a batch."""
        return self.model.predict(images)

    def unbatch(self, output: list) -> list:
        """Take the answers apart."""
        return output

    def encode_response(self, output: dict) -> dict:
        """Return one answer."""
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
