"""What is stored of incidents: their state, their people, their timeline, their review; the verbs live on the rows."""

from .actor import NAME_LENGTH, Actor, StepError, Via
from .alert import AlertGroup, Received, StoredAlert
from .export import LEASE, Export, ExportPiece, LostError
from .incident import Incident, IncidentQuerySet
from .postmortem import FollowUp, PostMortem, PostMortemTemplate
from .rules import ReminderRule
from .service import Service, Severity
from .timeline import FormerChat, Responder, TimelineEntry

__all__ = [
    "LEASE",
    "NAME_LENGTH",
    "Actor",
    "AlertGroup",
    "Export",
    "ExportPiece",
    "FollowUp",
    "FormerChat",
    "Incident",
    "IncidentQuerySet",
    "LostError",
    "PostMortem",
    "PostMortemTemplate",
    "Received",
    "ReminderRule",
    "Responder",
    "Service",
    "Severity",
    "StepError",
    "StoredAlert",
    "TimelineEntry",
    "Via",
]
