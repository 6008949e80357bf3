"""BentoML: `bentoml serve bentoml_app:Classifier`."""

import bentoml
import numpy as np
from PIL.Image import Image


@bentoml.service(traffic={"timeout": 60})
class Classifier:
    """Takes an image in a form, as BentoML's own example does."""

    def __init__(self) -> None:
        import model

        self.model = model

    @bentoml.api
    def predict(self, image: Image) -> dict:
        """Answer one image."""
        return self.model.predict(np.stack([self.model.prepare(image)]))[0]
