"""This app as any WSGI server takes it, as `shopwindow serve` makes it: `granian our_app:app`."""

from shopwindow.imaging.limits import ImageLimits
from shopwindow.inference.engine import available_cores
from shopwindow.inference.predictor import load_predictor
from shopwindow.settings import Settings
from shopwindow.web.app import create_app
from shopwindow.web.server.malloc import return_freed_memory

return_freed_memory()
settings = Settings.from_environment()
predictor = load_predictor(
    streams=available_cores(), limits=ImageLimits.of(settings), engine=settings.engine
)
app = create_app(predictor, settings)
